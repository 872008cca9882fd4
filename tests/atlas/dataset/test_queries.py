import pytest

from atlas.core.errors import UserError
from atlas.dataset.queries import find_query
from atlas.dataset.spec import read_spec

CHANNELS = ("nucleus", "protein")


def test_an_id_is_found_in_any_split(write_atlas):
    data = write_atlas(train={"a": "0"}, external={"e": "1"}, test=("t",), channels=CHANNELS)
    spec = read_spec(data)
    for image_id, split in (("a", "train"), ("e", "external"), ("t", "test")):
        query = find_query(image_id, spec, data)
        assert query.name == image_id
        assert query.files == tuple(data / split / f"{image_id}_{c}.png" for c in CHANNELS)


def test_one_file_leads_to_the_other_channels(write_atlas):
    data = write_atlas(channels=CHANNELS)
    path = data / "train" / "b_protein.png"
    query = find_query(str(path), read_spec(data), data)
    assert query.name == str(path)
    assert [file.name for file in query.files] == ["b_nucleus.png", "b_protein.png"]


def test_an_atlas_of_one_channel_accepts_any_file(write_atlas, tmp_path):
    data = write_atlas()
    elsewhere = tmp_path / "photo.png"
    elsewhere.write_bytes((data / "train" / "a.png").read_bytes())
    assert find_query(str(elsewhere), read_spec(data), data).files == (elsewhere,)


def test_mistakes_say_what_was_looked_for(write_atlas):
    data = write_atlas(channels=CHANNELS)
    spec = read_spec(data)
    with pytest.raises(UserError, match="no image of that id"):
        find_query("nobody", spec, data)
    with pytest.raises(UserError, match="does not exist; give an id"):
        find_query("no/such.png", spec, data)
    (data / "train" / "a_nucleus.png").unlink()
    with pytest.raises(UserError, match="channel nucleus is missing in its folder"):
        find_query(str(data / "train" / "a_protein.png"), spec, data)
    (data / "odd.png").write_bytes(b"")
    with pytest.raises(UserError, match="does not follow"):
        find_query(str(data / "odd.png"), spec, data)
