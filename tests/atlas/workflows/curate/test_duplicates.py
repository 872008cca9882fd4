"""Planted truth: a drawn atlas whose external table holds edited copies of train rows."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from atlas.core.errors import ProvenanceError, UserError, command_line
from atlas.dataset.manifest import read_manifest
from atlas.dataset.splits.hold_out import grouped_ids
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.curate.duplicates import DuplicateFinding, remove_duplicates
from atlas.workflows.embed.index import build_index
from index.settings import LeakSettings, RegistrationSettings
from retrieval import frozen

pytestmark = pytest.mark.slow

DRAWN = DrawnAtlasSettings(
    identities=18, fields_per_identity=3, size_px=64, seed=11, test_fields_per_identity=1,
    novel_identities=3, copies=6,
)  # fmt: skip
LEAKS = LeakSettings(neighbours=10, planted_copies=24)


def find(data: Path, index: Path, out: Path, **changes: int) -> DuplicateFinding:
    return remove_duplicates(data, index, out, replace(LEAKS, **changes), RegistrationSettings())


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


def test_the_cleaned_table_leaves_out_copies_and_keeps_all_else(job) -> None:
    data, run, truth = job
    cleaned = table(run / "duplicates" / "cleaned" / "external.csv")
    before = table(data / "external.csv")
    copies = truth.index[truth["relation"] == "same_image"]
    expected = before[~before["Id"].isin(copies)].reset_index(drop=True)
    pd.testing.assert_frame_equal(cleaned, expected)
    assert len(cleaned) == len(before) - 6


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


def test_mistakes_are_reported_before_the_work(job) -> None:
    data, run, _ = job
    with pytest.raises(UserError, match="was not written by remove-duplicates"):
        find(data, run / "index", data)
    with pytest.raises(UserError, match="--seed must not be negative"):
        find(data, run / "index", run / "duplicates", seed=-1)
