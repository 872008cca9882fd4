"""Labels counted: by hand on six images, by properties, and beside naive twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atlas.dataset.metrics import label_matrix
from atlas.workflows.explore.labels import (
    cooccurrence,
    label_counts,
    label_pairs,
    label_sets,
    labels_per_image,
    phi,
)
from tests.atlas.dataset import reference

NAMES = ("zero", "one", "two")
SIX = label_matrix([(0, 1), (0, 1), (0,), (1,), (2,), (0, 2)], 3).astype(bool)

TABLES = arrays(bool, st.tuples(st.integers(1, 30), st.integers(2, 6)))


def labels_of(carries_NC: np.ndarray) -> list[set[int]]:
    return [set(np.flatnonzero(row).tolist()) for row in carries_NC]


def named(carries_NC: np.ndarray) -> list[str]:
    return [f"label {n}" for n in range(carries_NC.shape[1])]


def test_six_images_by_hand() -> None:
    both_CC = cooccurrence(SIX)
    assert both_CC.tolist() == [[4, 2, 1], [2, 3, 0], [1, 0, 2]]
    phi_CC = phi(both_CC, 6)
    assert phi_CC[0, 1] == pytest.approx(0.0)  # (6 x 2 - 4 x 3) / ...
    assert phi_CC[0, 2] == pytest.approx(-0.25)  # (6 x 1 - 4 x 2) / sqrt(4 x 2 x 2 x 4)
    assert phi_CC[1, 2] == pytest.approx(-6 / 72**0.5)  # (0 - 3 x 2) / sqrt(3 x 3 x 2 x 4)
    assert phi_CC.diagonal() == pytest.approx([1.0, 1.0, 1.0])


def test_the_pairs_of_six_images_by_hand() -> None:
    pairs = label_pairs(SIX, NAMES)
    assert pairs[["name_a", "name_b"]].to_numpy().tolist() == [
        ["zero", "one"], ["zero", "two"], ["one", "two"]
    ]  # fmt: skip
    assert pairs["both"].tolist() == [2, 1, 0]
    assert pairs["expected"].tolist() == [2.0, pytest.approx(8 / 6), 1.0]
    assert pairs["a_given_b"].tolist() == [pytest.approx(2 / 3), 0.5, 0.0]
    assert pairs["b_given_a"].tolist() == [0.5, 0.25, 0.0]
    assert pairs["log10_p"].tolist() == [0.0, 0.0, 0.0]


def test_the_labels_and_sets_of_six_images_by_hand() -> None:
    counts = label_counts(SIX, NAMES)
    assert counts["images"].tolist() == [4, 3, 2]
    assert counts["alone"].tolist() == [1, 1, 1]
    assert counts["mean_labels"].tolist() == [7 / 4, 5 / 3, 3 / 2]
    per_image = labels_per_image(SIX)
    assert per_image["labels"].tolist() == [1, 2]
    assert per_image["images"].tolist() == [3, 3]
    assert per_image["percent"].tolist() == [50.0, 50.0]
    sets = label_sets(SIX, NAMES)
    assert sets["labels"].tolist() == ["0 1", "0", "0 2", "1", "2"]
    assert sets["names"][0] == "zero + one"
    assert sets["images"].tolist() == [2, 1, 1, 1, 1]


def test_the_pair_that_always_comes_together_stands_first_and_is_no_accident() -> None:
    carries = label_matrix([(0, 1)] * 5 + [(0, 2)] * 20 + [(2,)] * 20, 3).astype(bool)
    first = label_pairs(carries, NAMES).iloc[0]
    assert (first["name_a"], first["name_b"], first["both"]) == ("zero", "one", 5)
    assert first["a_given_b"] == 1.0
    assert first["phi"] == pytest.approx(np.corrcoef(carries.T.astype(float))[0, 1])


@given(carries_NC=TABLES)
def test_counts_add_up(carries_NC: np.ndarray) -> None:
    both_CC = cooccurrence(carries_NC)
    assert (both_CC == both_CC.T).all()
    counts = label_counts(carries_NC, named(carries_NC))
    assert both_CC.diagonal().tolist() == counts["images"].tolist()
    per_image = labels_per_image(carries_NC)
    assert (per_image["labels"] * per_image["images"]).sum() == counts["images"].sum()
    assert per_image["images"].sum() == len(carries_NC)
    assert per_image["percent"].sum() == pytest.approx(100)
    sets = label_sets(carries_NC, named(carries_NC))
    assert sets["images"].sum() == len(carries_NC)
    assert both_CC.sum() == (carries_NC.sum(axis=1) ** 2).sum()


@given(carries_NC=TABLES)
def test_phi_is_the_correlation_of_the_table(carries_NC: np.ndarray) -> None:
    phi_CC = phi(cooccurrence(carries_NC), len(carries_NC))
    varies = (carries_NC.any(axis=0)) & (~carries_NC.all(axis=0))
    assert np.isnan(phi_CC[~varies]).all()
    if varies.sum() > 1:
        expected = np.corrcoef(carries_NC[:, varies].T.astype(float))
        assert phi_CC[np.ix_(varies, varies)] == pytest.approx(expected, abs=1e-9)


@given(carries_NC=TABLES)
def test_pairs_equal_their_naive_twins(carries_NC: np.ndarray) -> None:
    labels, used = labels_of(carries_NC), int(carries_NC.any(axis=0).sum())
    pairs = label_pairs(carries_NC, named(carries_NC))
    assert len(pairs) == used * (used - 1) // 2
    for row in pairs.to_dict("records"):
        a, b = row["a"], row["b"]
        assert row["images_a"] >= row["images_b"]
        assert row["both"] == reference.both(labels, a, b)
        assert row["phi"] == pytest.approx(reference.phi(labels, a, b), nan_ok=True)
        assert row["log10_p"] == pytest.approx(reference.log10_chance(labels, a, b), abs=1e-9)


@given(carries_NC=TABLES, times=st.integers(2, 4))
def test_images_of_one_group_count_as_one(carries_NC: np.ndarray, times: int) -> None:
    once = label_pairs(carries_NC, named(carries_NC))
    fields = np.repeat(carries_NC, times, axis=0)
    grouped = label_pairs(fields, named(carries_NC), groups_GC=carries_NC)
    assert grouped["both"].tolist() == [times * n for n in once["both"]]
    assert grouped["groups"].tolist() == once["groups"].tolist()
    assert grouped["log10_p"].to_numpy() == pytest.approx(once["log10_p"].to_numpy())


def test_a_label_on_no_image_has_no_pair_and_no_mean() -> None:
    carries = label_matrix([(0, 2), (0,)], 3).astype(bool)
    assert label_pairs(carries, NAMES)[["a", "b"]].to_numpy().tolist() == [[0, 2]]
    assert np.isnan(label_counts(carries, NAMES)["mean_labels"][1])
