"""From run folders to a folder that decides for all of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import UserError
from atlas.dataset.artifacts import ProbabilitySet, save_probabilities
from atlas.dataset.manifest import read_manifest
from atlas.workflows.classify.ensemble import ensemble
from classify.decisions.mean_thresholds import thresholds_for_mean
from classify.decisions.settings import DecisionSettings, ThresholdSettings
from classify.decisions.thresholds import (
    Thresholds,
    apply_thresholds,
    load_thresholds,
    save_thresholds,
)
from classify.run_files import (
    OUT_OF_FOLD_FILE,
    TEST_FILE,
    THRESHOLDS_FILE,
    load_held_out,
    load_test,
)

LABELS = ("zero", "one", "two")
IDS = tuple(f"i{n:02}" for n in range(60))
TESTS = ("t1", "t2", "t3")


def member(folder: Path, seed: int, ids=IDS, tests=TESTS) -> Path:
    rng = np.random.default_rng(seed)
    for name, some in ((OUT_OF_FOLD_FILE, ids), (TEST_FILE, tests)):
        said = rng.random((len(some), 3)).astype(np.float32)
        if name == OUT_OF_FOLD_FILE:
            said[np.arange(len(some)), [IDS.index(i) % 3 for i in some]] += 1
        save_probabilities(
            folder / name,
            ProbabilitySet(ids=tuple(some), probabilities_NC=said / 2, provenance={"seed": seed}),
        )
    save_thresholds(
        folder,
        Thresholds(per_class=(0.5,) * 3, overall=0.5, without_positives=()), LABELS,
    )  # fmt: skip
    return folder


@pytest.fixture
def data(write_atlas) -> Path:
    return write_atlas(train={i: str(n % 3) for n, i in enumerate(IDS)}, test=TESTS)


@pytest.fixture
def folders(tmp_path) -> list[Path]:
    # The second in another order: rows are joined by id.
    return [member(tmp_path / "a", 1), member(tmp_path / "b", 2, ids=IDS[::-1], tests=TESTS[::-1])]


SETTINGS = DecisionSettings(folds=3, resamples=20)


def test_the_mean_is_of_the_same_images_and_the_folder_is_a_classifiers(data, folders, tmp_path):
    made = ensemble(data, folders, tmp_path / "out", SETTINGS, compare=False)
    said = load_test(tmp_path / "out")
    own = [load_test(folder).aligned_to(TESTS) for folder in folders]
    assert said.ids == TESTS
    np.testing.assert_allclose(
        said.probabilities_NC, np.mean([one.probabilities_NC for one in own], axis=0), atol=1e-6
    )
    assert set(load_held_out(tmp_path / "out").ids) == set(IDS)
    assert list(made.table["members"]) == ["all", "a", "b"]
    assert made.table["nested"].between(0, 1).all()
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "out" / "summary.csv", keep_default_na=False),
        made.table, atol=1e-6, rtol=0,
    )  # fmt: skip


@pytest.mark.parametrize("how", ["weighted", "logistic", "boosting", "recurrent"])
def test_equal_work_gives_equal_bytes(data, folders, tmp_path, how):
    settings = DecisionSettings(how=how, folds=3, resamples=20, priors=("cooccurrence",))
    for name in ("one", "two"):
        ensemble(data, folders, tmp_path / name, settings, compare=False)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert {"ensemble.json", "f1_by_class.csv", "by_class.csv", TEST_FILE} <= set(files)
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_members_with_missing_rows_are_named_with_their_count(data, folders, tmp_path):
    short = member(tmp_path / "short", 3, ids=IDS[:50])
    with pytest.raises(UserError, match="of 60 short lacks 10"):
        ensemble(data, [*folders, short], tmp_path / "out", SETTINGS, compare=False)
    short = member(tmp_path / "short", 3, tests=TESTS[:1])
    with pytest.raises(UserError, match="test images, but of 3 short lacks 2"):
        ensemble(data, [*folders, short], tmp_path / "out", SETTINGS, compare=False)
    assert not (tmp_path / "out").exists()


def test_keep_top_off_goes_with_the_thresholds(data, folders, tmp_path):
    settings = DecisionSettings(
        folds=3, resamples=20, thresholds=ThresholdSettings(thresholds="overall", keep_top=False)
    )
    ensemble(data, folders, tmp_path / "out", settings, compare=False)
    thresholds = load_thresholds(tmp_path / "out", LABELS)
    assert apply_thresholds(np.zeros((1, 3), np.float32), thresholds).sum() == 0
    assert "no label" in (tmp_path / "out" / THRESHOLDS_FILE).read_text()


def test_wanted_shares_are_met_on_the_test_images(data, folders, tmp_path):
    (tmp_path / "wanted.csv").write_text("label,share\n0,0\n1,1\n2,0.334\n")
    settings = DecisionSettings(
        folds=3, resamples=20,
        thresholds=ThresholdSettings(
            thresholds="shares", wanted_shares=tmp_path / "wanted.csv", keep_top=False
        ),
    )  # fmt: skip
    ensemble(data, folders, tmp_path / "out", settings, compare=False)
    thresholds = load_thresholds(tmp_path / "out", LABELS)
    said = load_test(tmp_path / "out")
    assert apply_thresholds(said.probabilities_NC, thresholds).sum(axis=0).tolist() == [0, 3, 1]


def with_folds(folder: Path, seed: int) -> Path:
    """Give a member two networks, whose mean its predictions of test images are."""
    tests = load_test(folder)
    said_NC = tests.probabilities_NC
    apart_NC = np.random.default_rng(seed).random(said_NC.shape) * np.minimum(said_NC, 1 - said_NC)
    for name, sign in (("fold1", 1), ("fold2", -1)):
        one = replace(tests, probabilities_NC=(said_NC + sign * apart_NC).astype(np.float32))
        save_probabilities(folder / name / TEST_FILE, one)
    return folder


@pytest.mark.parametrize("thresholds", ["best_f1", "shrunk", "shares"])
def test_thresholds_are_moved_to_the_mean_over_the_networks_of_members(
    data, folders, tmp_path, thresholds
):
    settings = replace(SETTINGS, thresholds=ThresholdSettings(thresholds=thresholds))
    members = [with_folds(folders[0], 1), with_folds(folders[1], 2)]
    ensemble(data, members, tmp_path / "out", settings)
    networks = [load_test(tmp_path / "out" / name) for name in ("fold1", "fold2")]
    for name, network in zip(("fold1", "fold2"), networks, strict=True):
        own = [load_test(member / name).aligned_to(TESTS).probabilities_NC for member in members]
        np.testing.assert_allclose(network.probabilities_NC, np.mean(own, axis=0), atol=1e-6)
    chosen = load_thresholds(tmp_path / "out", LABELS, of="held_out")
    found = load_thresholds(tmp_path / "out", LABELS)
    assert found != chosen
    networks_KQC = np.stack([network.probabilities_NC for network in networks])
    mean_QC = load_test(tmp_path / "out").probabilities_NC
    moved = thresholds_for_mean(chosen, networks_KQC, mean_QC)
    assert (found == moved) == (thresholds != "shares")  # those count the test images themselves
    by_class = pd.read_csv(tmp_path / "out" / "by_class.csv")
    np.testing.assert_allclose(by_class["threshold"], chosen.per_class, atol=1e-6)
    # An ensemble of it alone, with the mean, decides the same.
    ensemble(data, [tmp_path / "out"], tmp_path / "again", settings)
    np.testing.assert_allclose(
        load_thresholds(tmp_path / "again", LABELS).per_class, found.per_class, atol=1e-6
    )


def test_a_member_of_one_network_is_combined_with_each_of_anothers(data, folders, tmp_path):
    members = [with_folds(folders[0], 1), folders[1]]
    ensemble(data, members, tmp_path / "out", SETTINGS)
    other = load_test(members[1]).aligned_to(TESTS).probabilities_NC
    for name in ("fold1", "fold2"):
        own = load_test(members[0] / name).probabilities_NC
        said = load_test(tmp_path / "out" / name).probabilities_NC
        np.testing.assert_allclose(said, (own + other) / 2, atol=1e-6)


def test_shares_that_are_none_are_one_line(data, folders, tmp_path):
    (tmp_path / "wanted.csv").write_text("label,share\n0,0.5\n")
    settings = DecisionSettings(
        thresholds=ThresholdSettings(thresholds="shares", wanted_shares=tmp_path / "wanted.csv")
    )
    with pytest.raises(UserError, match="a share for each label number"):
        ensemble(data, folders, tmp_path / "out", settings, compare=False)


def test_a_comparison_has_every_way_once(data, folders, tmp_path):
    made = ensemble(data, folders, tmp_path / "out", SETTINGS, compare=True)
    ways = made.table[made.table["members"] == "all"][["how", "thresholds"]]
    assert len(ways) == len(ways.drop_duplicates()) == 6 * 5


def test_a_labelled_image_of_another_atlas_is_refused(data, tmp_path):
    non_match = member(tmp_path / "non_match", 1)
    save_probabilities(
        non_match / OUT_OF_FOLD_FILE,
        ProbabilitySet(ids=("x",), probabilities_NC=np.ones((1, 3), np.float32), provenance={}),
    )
    with pytest.raises(UserError, match="x is not a labelled image"):
        ensemble(data, [non_match], tmp_path / "out", SETTINGS, compare=False)
    assert read_manifest(data).ids  # and the atlas itself is whole
