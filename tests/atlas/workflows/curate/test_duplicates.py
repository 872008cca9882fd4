"""Planted truth: a drawn atlas whose external table holds edited copies of train rows."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from atlas.core.errors import ProvenanceError, UserError, command_line
from atlas.dataset.image_keys import keys_in
from atlas.dataset.manifest import read_manifest
from atlas.dataset.splits.hold_out import grouped_ids
from atlas.dataset.verdicts import Choice, Verdict, add_verdicts, verdicts_beside
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.curate.duplicates import DuplicateFinding, remove_duplicates
from atlas.workflows.embed.index import build_index
from index.settings import DuplicateSettings, RegistrationSettings
from retrieval import frozen

pytestmark = pytest.mark.slow

DRAWN = DrawnAtlasSettings(
    identities=18, fields_per_identity=3, size_px=64, seed=11, test_fields_per_identity=1,
    novel_identities=3, copies=6,
)  # fmt: skip
SETTINGS = DuplicateSettings(neighbours=10, planted_copies=24)


def find(data: Path, index: Path, out: Path, **changes: int | str) -> DuplicateFinding:
    settings = replace(SETTINGS, **changes)
    return remove_duplicates(data, index, out, settings, RegistrationSettings())


def indexed_again(data: Path, run: Path, name: str) -> Path:
    """By the embedder that is there, which takes no second look at what it knows."""
    build_index(data, str(run / "index" / "embedder"), run / name)
    return run / name


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, pd.DataFrame]:
    """An atlas whose external images are known copies, siblings and novel fields; a finished run.

    One copy carries another label than its source.
    """
    folder = tmp_path_factory.mktemp("duplicates")
    data, run = folder / "data", folder / "run"
    draw_atlas(DRAWN, data, jobs=1)
    (data / "test").rename(data / "external")
    (data / "sample_submission.csv").unlink()
    truth = pd.read_csv(data / "truth.csv", dtype=str, keep_default_na=False).set_index("Id")
    copies = truth.index[truth["relation"] == "same_image"]
    truth.loc[copies[0], "Target"] = "27"
    external = truth.reset_index()[["Id", "Target"]].assign(note="kept, as it is")
    external.to_csv(data / "external.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:  # a small network of drawn weights will do
        patch.setattr(frozen, "_obtainable_backbone", lambda: "test_resnet")
        build_index(data, "frozen", run / "index")
    find(data, run / "index", run / "duplicates")
    return data, run, truth


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_copies_are_found_with_their_sources_and_nothing_else(job) -> None:
    _, run, truth = job
    found = table(run / "duplicates" / "duplicates.csv").set_index("id")
    copies = truth[truth["relation"] == "same_image"]
    assert set(found.index) == set(copies.index)
    assert found["duplicate_of"].to_dict() == copies["source"].to_dict()
    assert found["same_labels"].value_counts().to_dict() == {"yes": 5, "no": 1}
    assert found.at[copies.index[0], "same_labels"] == "no"
    assert found["kept"].to_dict() == copies["source"].to_dict()
    assert set(found["reason"]) == {"only train image"}


def test_the_cleaned_table_leaves_out_copies_and_keeps_all_else(job) -> None:
    data, run, truth = job
    cleaned = table(run / "duplicates" / "cleaned" / "external.csv")
    before = table(data / "external.csv")
    copies = truth.index[truth["relation"] == "same_image"]
    expected = before[~before["Id"].isin(copies)].reset_index(drop=True)
    pd.testing.assert_frame_equal(cleaned, expected)
    assert len(cleaned) == len(before) - 6
    assert not (run / "duplicates" / "cleaned" / "train.csv").exists()


def test_no_split_parts_a_copy_from_its_source(job, tmp_path) -> None:
    data, run, truth = job
    grouped = shutil.copytree(data, tmp_path / "data")
    shutil.copy(run / "duplicates" / "groups.csv", grouped)
    group_of = {i: ids for ids in grouped_ids(read_manifest(grouped)) for i in ids}
    for copy, source in truth[truth["relation"] == "same_image"]["source"].items():
        assert copy in group_of[source]


def test_cleaned_data_is_sound_and_needs_a_new_index(job, tmp_path) -> None:
    data, run, truth = job
    cleaned = shutil.copytree(data, tmp_path / "data")
    for path in (run / "duplicates" / "cleaned").iterdir():
        shutil.copy(path, cleaned)
    copies = set(truth.index[truth["relation"] == "same_image"])
    assert set(read_manifest(data).ids) - set(read_manifest(cleaned).ids) == copies
    with pytest.raises(ProvenanceError, match=command_line("build_index")):
        find(cleaned, run / "index", tmp_path / "duplicates")


def test_a_second_finding_keeps_the_groups_that_are_there(job, tmp_path) -> None:
    data, run, truth = job
    grouped = shutil.copytree(data, tmp_path / "data")
    source = truth["source"][truth["relation"] == "same_image"].iloc[0]
    other = next(i for i in read_manifest(data).ids if i not in set(truth["source"]))
    (grouped / "groups.csv").write_text(f"Id,Group\n{source},mine\n{other},mine\n")
    group_of = find(grouped, indexed_again(grouped, run, "grouped"), run / "more").group_of
    copy = truth.index[truth["source"] == source][0]
    assert group_of[copy] == group_of[source] == group_of[other]


def with_a_twin(data: Path, source: str, child: str) -> None:
    """Give a train image a twin of other labels, and say that another image was made from it."""
    for path in (data / "train").glob(f"{source}_*"):
        shutil.copy(path, path.with_name(path.name.replace(source, "twin")))
    train = table(data / "train.csv")
    twin = train[train["Id"] == source].assign(Id="twin", Target="0 1 2 3 4 5 6")
    train = pd.concat([train, twin]).assign(Parent="")
    train.loc[train["Id"] == child, "Parent"] = source
    train.to_csv(data / "train.csv", index=False)


def test_the_image_with_most_labels_is_kept_of_each_group(job, tmp_path) -> None:
    """The source of a copy has a twin in train, so the twin is kept and the source is not."""
    data, run, truth = job
    twinned = shutil.copytree(data, tmp_path / "data")
    copies = truth[truth["relation"] == "same_image"]
    source = copies["source"].iloc[0]
    child = next(i for i in table(data / "train.csv")["Id"] if i not in set(truth["source"]))
    with_a_twin(twinned, source, child)
    index = indexed_again(twinned, run, "twinned")
    found = find(twinned, index, tmp_path / "twins", keep="most-labels")
    rows = table(tmp_path / "twins" / "duplicates.csv").set_index("id")
    group = {source, *copies.index[copies["source"] == source]}
    assert set(rows.index[rows["kept"] == "twin"]) == group
    assert rows.at[source, "reason"] == "most labels (7) of 2 train images"
    assert found.copies_of_train == len(copies)
    for path in (tmp_path / "twins" / "cleaned").iterdir():
        shutil.copy(path, twinned)
    cleaned = read_manifest(twinned)
    assert set(read_manifest(data).ids) - set(cleaned.ids) == {source, *copies.index}
    assert cleaned.by_id[child].parent == "twin"
    assert found.manifest.by_id[child].parent == source


def test_a_plain_folder_has_no_tables_to_clean(job, tmp_path) -> None:
    data, *_ = job
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    blue = sorted((data / "train").glob("*_blue.png"))[:24]
    for number, path in enumerate([*blue, blue[0]]):
        shutil.copy(path, pictures / f"{number:02d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "_obtainable_backbone", lambda: "test_resnet")
        build_index(pictures, "frozen", tmp_path / "index")
    found = find(pictures, tmp_path / "index", tmp_path / "duplicates", keep="sharpest")
    assert found.kept_for == {f"{len(blue):02d}.png": "00.png"}
    assert found.table["reason"].iloc[0].startswith("first of 2 with the highest sharpness (")
    assert not (tmp_path / "duplicates" / "cleaned").exists()


def test_mistakes_are_reported_before_the_work(job) -> None:
    data, run, _ = job
    with pytest.raises(UserError, match="was not written by remove-duplicates"):
        find(data, run / "index", data)
    with pytest.raises(UserError, match="--seed must not be negative"):
        find(data, run / "index", run / "duplicates", seed=-1)
    with pytest.raises(UserError, match=r"--keep must be one of first, .*, newest \(got oldest\)"):
        find(data, run / "index", run / "duplicates", keep="oldest")


def test_the_image_that_people_chose_stays_also_after_images_were_added(
    job, tmp_path: Path
) -> None:
    data, run, truth = job
    twinned = shutil.copytree(data, tmp_path / "data")
    copies = truth[truth["relation"] == "same_image"]
    copy, source = next(copies["source"].items())
    key_of = keys_in(data, tmp_path / "store")
    chosen = Choice(id=copy, key=key_of[copy], reviewer="Ann")
    add_verdicts(verdicts_beside(tmp_path / "duplicates"), choices=[chosen])
    with_a_twin(twinned, source, child=source)  # added after the choice
    remove_parents(twinned)
    find(twinned, indexed_again(twinned, run, "chosen"), tmp_path / "duplicates")
    rows = table(tmp_path / "duplicates" / "duplicates.csv").set_index("id")
    assert {i for i in rows.index if rows.at[i, "kept"] == copy} == {source, "twin"}
    assert set(rows.loc[[source, "twin"], "reason"]) == {"chosen by Ann"}
    listed = table(tmp_path / "duplicates" / "copies.csv").set_index("id")
    assert set(listed.loc[[copy, source, "twin"], "kept_by_policy"]) == {source}
    assert listed.at[copy, "width_px"] == str(DRAWN.size_px)
    for path in (tmp_path / "duplicates" / "cleaned").iterdir():
        shutil.copy(path, twinned)
    cleaned = read_manifest(twinned)
    assert copy in cleaned.ids
    assert not {source, "twin"} & set(cleaned.ids)


def remove_parents(data: Path) -> None:
    table(data / "train.csv").drop(columns="Parent").to_csv(data / "train.csv", index=False)


def test_what_people_have_judged_decides(job, tmp_path: Path) -> None:
    """A copy that was rejected stays, and a pair that was accepted is a copy at any score."""
    data, run, truth = job
    shutil.copytree(run / "index", tmp_path / "index")
    edited = truth[(truth["relation"] == "same_image") & (truth["edit"] != "exact")]
    copy, source = next(edited["source"].items())
    novel = truth.index[truth["relation"] == "novel"][0]
    key_of = keys_in(data, tmp_path / "store")
    said = [(copy, source, "different"), (novel, source, "same")]
    add_verdicts(
        verdicts_beside(tmp_path / "duplicates"),
        [
            Verdict(query_id=one, match_id=other, query_key=key_of[one], match_key=key_of[other],
                    verdict=verdict)
            for one, other, verdict in said
        ],
    )  # fmt: skip
    found = find(data, tmp_path / "index", tmp_path / "duplicates", neighbours=1)
    assert copy not in set(found.table["id"])
    row = found.table.set_index("id").loc[novel]
    assert (row["duplicate_of"], row["confidence"]) == (source, 1.0)
    assert found.group_of[novel] == found.group_of[source] != found.group_of.get(copy)
