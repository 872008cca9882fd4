import numpy as np
import pytest

from atlas.dataset.artifacts import Neighbours
from index.siblings.features import (
    FEATURES,
    NEAREST,
    NONE,
    VOTERS,
    KnownIdentities,
    gather_features,
    joined_features,
)
from tests.index.siblings.made import embedding, no_candidates, planted_identities

REFERENCES = embedding(
    {"x1": [1, 0, 0], "x2": [0.8, 0.6, 0], "y1": [0, 1, 0], "y2": [0, 0.8, 0.6], "alone": [0, 0, 1]}
)
IDENTITIES = {"x1": "x", "x2": "x", "y1": "y", "y2": "y", "alone": None}


def features_of(known, queries, candidates=None, excluded=None):
    found, scores = candidates or no_candidates(queries.ids)
    features = gather_features(known, queries, found, scores, excluded=excluded)
    names = features.identity_of(np.arange(len(features.query_R)))
    return {
        (queries.ids[n], name): dict(zip(FEATURES, values.tolist(), strict=True))
        for n, name, values in zip(features.query_R, names, features.values_RF, strict=True)
    }


def test_by_a_hand_worked_example():
    known = KnownIdentities.of(REFERENCES, IDENTITIES)
    query = embedding({"q": [1, 0, 0]})
    candidates = Neighbours(
        query_ids=("q",),
        reference_ids_NK=np.array([["x1", "x2", "y2", "alone"]], dtype=object),
        similarity_NK=np.array([[1.0, 0.8, 0.0, 0.0]], np.float32),
    )
    scores = np.array([[0.5, 1.5, -1.0, 3.0]])
    found = features_of(known, query, (candidates, scores))
    assert set(found) == {("q", "x"), ("q", "y")}  # an image without an identity is none
    middle = np.array([1.8, 0.6, 0]) / np.linalg.norm([1.8, 0.6, 0])
    assert found["q", "x"] == pytest.approx(
        {
            "similarity": 1.0, "prototype_similarity": middle[0], "margin": 1.0,
            "agreeing_share": 1.0, "registration": np.log(2.5),
        }
    )  # fmt: skip
    assert found["q", "y"]["margin"] == pytest.approx(-1.0)
    assert found["q", "y"]["registration"] == 0.0


def test_excluded_references_and_the_query_itself_do_not_count():
    known = KnownIdentities.of(REFERENCES, IDENTITIES)
    query = REFERENCES.aligned_to(["x1"])
    found = features_of(known, query)
    assert found["x1", "x"]["similarity"] == pytest.approx(0.8)
    assert found["x1", "x"]["prototype_similarity"] == pytest.approx(0.8)
    as_new = features_of(known, query, excluded=[frozenset(["x1", "x2"])])
    assert set(as_new) == {("x1", "y")}
    assert as_new["x1", "y"]["margin"] == pytest.approx(1.0)  # there is no other identity


def test_an_identity_that_only_registers_is_considered():
    known = planted_identities(20, 2, spread=0.1)
    vectors_ND = known.embeddings.vectors_ND
    far = known.embeddings.ids[int((vectors_ND @ vectors_ND[0]).argmin())]
    query = embedding({"q": vectors_ND[0].tolist()})
    candidates = Neighbours(
        query_ids=("q",),
        reference_ids_NK=np.array([[far]], dtype=object),
        similarity_NK=np.zeros((1, 1), np.float32),
    )
    found = features_of(known, query, (candidates, np.array([[4.0]])))
    assert found["q", known.identities[far]]["registration"] == pytest.approx(np.log(5))
    assert len(found) == 4


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_equals_the_naive_twin(seed):
    known = planted_identities(30, 4, spread=0.8, seed=seed)
    vectors, ids = known.embeddings.vectors_ND, known.embeddings.ids
    names = np.array([known.identities[i] for i in ids])
    queries = known.embeddings.aligned_to(ids[::7])
    found = features_of(known, queries)
    for (query, name), values in found.items():
        own = known.embeddings.ids.index(query)
        similarity = vectors @ vectors[own]
        similarity[own] = -np.inf
        order = np.argsort(-similarity, kind="stable")[: min(NEAREST, len(ids) - 1)]
        mine = (names == name) & (np.arange(len(ids)) != own)
        mean = vectors[mine].astype(float).mean(axis=0)
        others = [n for n in order if names[n] != name]
        assert values["similarity"] == pytest.approx(similarity[mine].max(), abs=1e-6)
        assert values["margin"] == pytest.approx(
            similarity[mine].max() - similarity[others].max(), abs=1e-6
        )
        assert values["prototype_similarity"] == pytest.approx(
            float(mean @ vectors[own]) / np.linalg.norm(mean), abs=1e-6
        )
        agreeing = (names[order[:VOTERS]] == name).sum()
        assert values["agreeing_share"] == agreeing / min(VOTERS, mine.sum())


def test_the_best_row_of_each_query_is_the_first_with_the_highest_score():
    known = planted_identities(6, 3, spread=0.5)
    queries = known.embeddings.aligned_to(["0.0", "1.0"])
    found, scores = no_candidates(queries.ids)
    features = gather_features(known, queries, found, scores)
    similarity = features.values_RF[:, 0]
    best = features.best_rows(similarity)
    for n in range(2):
        own = np.flatnonzero(features.query_R == n)
        assert best[n] == own[similarity[own].argmax()]
    assert features.best_rows(np.zeros(len(similarity))).tolist() == [
        np.flatnonzero(features.query_R == n)[0] for n in range(2)
    ]


def test_a_query_without_references_has_no_identity():
    known = KnownIdentities.of(REFERENCES, dict.fromkeys(REFERENCES.ids) | {"x1": "x"})
    query = REFERENCES.aligned_to(["x1"])
    found, scores = no_candidates(query.ids)
    features = gather_features(known, query, found, scores)
    best = features.best_rows(np.zeros(0))
    assert best.tolist() == [NONE]
    assert features.identity_of(best).tolist() == [""]


def test_features_of_parts_of_the_queries_are_those_of_all():
    known = planted_identities(8, 3, spread=0.5)
    ids = known.embeddings.ids[::3]
    whole, *parts = (
        gather_features(known, known.embeddings.aligned_to(some), *no_candidates(some))
        for some in (ids, ids[:3], ids[3:4], ids[4:])
    )
    joined = joined_features(parts)
    assert (joined.query_ids, joined.names) == (whole.query_ids, whole.names)
    for name in ("query_R", "identity_R", "nearest_R"):
        assert getattr(joined, name).tolist() == getattr(whole, name).tolist()
    np.testing.assert_allclose(joined.values_RF, whole.values_RF, atol=1e-6)


def test_each_row_names_the_nearest_reference_of_its_identity():
    known = KnownIdentities.of(REFERENCES, IDENTITIES)
    query = embedding({"q": [0.9, 0.5, 0]})
    found = gather_features(known, query, *no_candidates(query.ids), excluded=[frozenset(["x2"])])
    names = found.identity_of(np.arange(len(found.query_R))).tolist()
    assert dict(zip(names, found.nearest_R.tolist(), strict=True)) == {"x": "x1", "y": "y1"}
