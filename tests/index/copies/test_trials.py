import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from atlas.synthetic.edits import planted_edits
from index.copies.candidates import Candidates
from index.copies.guarantee import RISK, Trials, measure_guarantee
from index.copies.images import Images
from index.copies.trials import (
    edit_of,
    independent_scores,
    one_of_each,
    plant_copies,
    sample_ids,
    source_of,
    sources_only,
)
from tests.image_sources import Pixels


def read(ids):
    """A field that its id decides, uint8 N x 1 x 32 x 32."""
    return np.stack(
        [np.random.default_rng(int(i)).integers(0, 255, (1, 32, 32), dtype=np.uint8) for i in ids]
    )


SOURCES = Images(what="sources", source=Pixels(read, lambda ids: [f"pixels of {i}" for i in ids]))


def test_planted_copies_are_the_same_whenever_they_are_read():
    copies = plant_copies([str(n) for n in range(20)], SOURCES, channels=1, count=20, seed=1)
    one_by_one = np.concatenate([copies.read([i]) for i in copies.ids])
    np.testing.assert_array_equal(copies.read(copies.ids), one_by_one)
    other = plant_copies([str(n) for n in range(20)], SOURCES, channels=1, count=20, seed=2)
    assert other.ids != copies.ids
    keys = copies.images.keys(copies.ids)
    assert all(source_of(i) in key for i, key in zip(copies.ids, keys, strict=True))
    assert not set(keys) & set(other.images.keys(other.ids))


def test_each_copy_has_a_source_of_its_own_and_edits_are_even():
    copies = plant_copies([str(n) for n in range(40)], SOURCES, channels=1, count=36, seed=0)
    assert len({source_of(i) for i in copies.ids}) == 36
    counts = [sum(edit_of(i) == edit for i in copies.ids) for edit in planted_edits(1)]
    assert set(counts) == {3}


def test_a_lost_channel_is_planted_only_where_another_is_left():
    assert "blank_channel" not in planted_edits(1)
    assert "blank_channel" in planted_edits(2)
    assert "exact" not in planted_edits(2)


def test_a_small_atlas_gives_as_many_as_it_has():
    assert len(plant_copies(["1", "2"], SOURCES, channels=1, count=1000, seed=0).ids) == 2


@given(st.lists(st.sampled_from("abc"), max_size=20), st.integers(0, 5))
def test_one_image_of_each_identity_is_chosen(names, seed):
    ids = [f"{n:02d}" for n in range(len(names))]
    identities = dict(zip(ids, names, strict=True))
    chosen = one_of_each(ids, identities, seed=seed)
    assert sorted(identities[i] for i in chosen) == sorted(set(names))
    assert list(chosen) == sorted(chosen)


def test_only_the_source_is_kept_of_the_candidates():
    found = sources_only(
        Candidates(
            query_ids=("crop:a", "crop:b"),
            reference_ids_NK=np.array([["x", "a"], ["x", "y"]], dtype=object),
            similarity_NK=np.array([[0.9, 0.8], [0.7, 0.6]], np.float32),
            matched_NK=np.array([[False, True], [True, True]]),
        )
    )
    assert found.reference_ids_NK.tolist() == [["a"], [""]]
    np.testing.assert_allclose(found.similarity_NK, [[0.8], [-np.inf]])
    assert found.matched_NK.tolist() == [[True], [False]]


def test_samples_keep_order_and_size():
    ids = [f"{n:03d}" for n in range(100)]
    sample = sample_ids(ids, count=10, seed=0)
    assert list(sample) == sorted(sample)
    assert len(set(sample)) == 10
    assert sample_ids(ids, count=1000, seed=0) == tuple(ids)


def test_queries_that_fail_together_count_once():
    """b and c are each other's best match, as are two images of the identity x and one of y."""
    scores = np.array([3.0, 7.0, 7.0, 9.0, 8.0, 9.0, 1.0, 2.0])
    units, matches = list("abcxxyde"), list("bcbyyxaa")
    found = independent_scores(scores, units, matches, units=7, seed=0)
    assert len(found) == 7 // 2
    assert found[0] in (9.0, 8.0)
    assert found[1:].tolist() == [7.0, 3.0]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40), st.integers(0, 5))
def test_there_are_half_as_many_independent_queries_as_identities(pairs, seed):
    scores = np.linspace(0, 1, len(pairs))
    units, matches = ([str(pair[n]) for pair in pairs] for n in (0, 1))
    found = independent_scores(scores, units, matches, units=len(set(units)), seed=seed)
    assert len(found) == len(set(units)) // 2
    assert (np.diff(found) <= 0).all()
    assert set(found) <= set(scores)


@pytest.mark.parametrize("queries", [40, 100, 200])
def test_independent_queries_are_as_many_as_the_pairs_of_which_they_are_part(queries):
    """Planted truth: each pair of 200 identities is alike with the same small probability.

    The distinct pairs that alike queries are part of, divided by the trials, estimate the
    probability that a query is alike to any identity.
    """
    identities, alike, redraws = 200, 2e-4, 3000
    rng = np.random.default_rng(0)
    found = trials = 0
    for _ in range(redraws):
        pairs = np.triu(rng.random((identities, identities)) < alike, 1)
        pairs |= pairs.T
        rows = range(queries)
        scores = pairs[rows].any(axis=1).astype(float)
        matches = pairs[rows].argmax(axis=1)
        names = [[str(n) for n in some] for some in (rows, matches)]
        for n in np.flatnonzero(scores == 0):
            names[1][n] = f"nobody {n}"
        independent = independent_scores(scores, *names, units=identities, seed=0)
        found, trials = found + independent.sum(), trials + len(independent)
    expected = 1 - (1 - alike) ** (identities - 1)
    assert found / trials == pytest.approx(expected, rel=0.1)


def test_a_guarantee_breaks_no_more_often_where_all_images_of_an_identity_fail_together():
    """Planted truth: the fields of two identities look alike in so many cases that 0.9 just fails.

    Each query of such an identity is claimed as one of the other identity.
    """
    share, asked, fields, identities, redraws = 0.3, 0.9, 6, 600, 400
    rate = share / (1 - share) * (1 - asked) / asked * 1.05  # of queries that are claimed falsely
    units = np.repeat(np.arange(identities), fields)
    stated = 0
    for seed in range(redraws):
        rng = np.random.default_rng(seed)
        alike = np.repeat(rng.random(identities // 2) < rate, 2)
        scores = np.where(alike[units], 20.0, 1.0)
        partner = units + np.where(units % 2 == 0, 1, -1)
        names = [[str(unit) for unit in some] for some in (units, partner)]
        trials = Trials(
            known_K=np.full(2000, 20.0),
            unknown_U=independent_scores(scores, *names, units=identities, seed=seed),
        )
        stated += measure_guarantee(
            trials, wanted_threshold=10.0, precision=asked, share=share, seed=seed
        ).reached
    assert stated <= binom.ppf(0.999, redraws, RISK)
