import pytest

from atlas.core.errors import UserError
from atlas.dataset.queries import find_query, gather_queries, open_files
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


def test_an_id_with_an_ending_is_an_id_first(write_atlas):
    data = write_atlas(train={"q1.jpg": "0"})
    query = find_query("q1.jpg", read_spec(data), data)
    assert query.files == (data / "train" / "q1.jpg.png",)


def test_files_that_differ_by_case_are_named(write_atlas):
    data = write_atlas(train={"a": "0"})
    (data / "train" / "a.PNG").write_bytes((data / "train" / "a.png").read_bytes())
    with pytest.raises(UserError, match=r"a.png and a.PNG both exist; keep one"):
        find_query("a", read_spec(data), data)
    assert find_query(str(data / "train" / "a.PNG"), read_spec(data), data).files


def test_upper_case_endings_are_found_by_id_and_by_path(write_atlas):
    data = write_atlas(train={"a": "0"}, channels=("w1", "w11"))
    for file in (data / "train").iterdir():
        file.rename(file.with_suffix(".PNG"))
    spec = read_spec(data)
    files = tuple(data / "train" / f"a_{channel}.PNG" for channel in ("w1", "w11"))
    assert find_query("a", spec, data).files == files
    assert find_query(str(files[0]), spec, data).files == files
    assert find_query(str(files[1]), spec, data).files == files


def test_endings_in_mixed_case_are_found_by_id_in_any_split(write_atlas):
    data = write_atlas(train={"a": "0"}, test=("t",))
    for image_id, split in (("a", "train"), ("t", "test")):
        odd = (data / split / f"{image_id}.png").rename(data / split / f"{image_id}.Png")
        assert find_query(image_id, read_spec(data), data).files == (odd,)


@pytest.mark.parametrize("pattern", ["{id}{channel}.png", "{channel}{id}.png"])
def test_names_of_channels_that_end_or_begin_alike_lead_to_their_own_files(tmp_path, pattern):
    data = write_named(tmp_path, pattern, ("red", "darkred", "reddark"), ("a", "b"))
    spec = read_spec(data)
    for image_id in ("a", "b"):
        files = find_query(image_id, spec, data).files
        for file in files:
            assert find_query(str(file), spec, data).files == files


def test_a_file_of_two_ids_is_not_guessed(tmp_path):
    data = write_named(
        tmp_path, "{id}{channel}.png", ("red", "darkred"), ("a", "adark", "adarkdark")
    )
    with pytest.raises(UserError, match=r"may belong to a or adark; give the id"):
        find_query(str(data / "train" / "adarkred.png"), read_spec(data), data)


def test_texts_that_no_file_system_accepts_are_no_images(write_atlas):
    data = write_atlas()
    files = open_files(read_spec(data), data)
    for text in ("a" * 5000, "a\0b", "x/" * 3000, "a\x1b[31m", "\udcff.png"):
        (query,) = gather_queries([text], files)
        assert query.problem


def write_named(folder, pattern, channels, ids):
    names = ", ".join(f'"{channel}"' for channel in channels)
    (folder / "train").mkdir()
    (folder / "atlas.toml").write_text(
        f'channels = [{names}]\nfile_pattern = "{pattern}"\nlabels = ["one"]\n'
    )
    for image_id in ids:
        for channel in channels:
            (folder / "train" / pattern.format(id=image_id, channel=channel)).write_bytes(b"")
    return folder
