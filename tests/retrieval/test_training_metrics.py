import numpy as np
import pytest

from atlas.dataset.artifacts import EmbeddingSet
from retrieval.postprocessing import similarity
from retrieval.training import top1


def named(ids, vectors_ND: np.ndarray) -> EmbeddingSet:
    return EmbeddingSet(ids=tuple(ids), vectors_ND=vectors_ND, provenance={})


def test_by_hand() -> None:
    gallery = np.array([[1, 0], [0, 1], [0.8, 0.6]], np.float32)
    queries = np.array([[1, 0], [0, 1]], np.float32)
    # "a" may not find itself, so "c" is its nearest; "q" finds "b".
    labels = np.array([5, 6, 5])
    assert top1(named("aq", queries), labels[:2], named("abc", gallery), labels) == 1.0
    other = np.array([5, 7])
    assert top1(named("aq", queries), other, named("abc", gallery), labels) == 0.5


def test_label_sets_are_compared_by_their_jaccard_similarity() -> None:
    gallery = np.array([[1, 0], [0, 1]], np.float32)
    sets = np.array([[1, 1, 0], [0, 0, 1]], np.float32)
    query = np.array([[1, 0]], np.float32)
    for own, shared in (([1, 1, 0], 1.0), ([1, 0, 0], 0.5), ([0, 1, 1], 1 / 3), ([0, 0, 1], 0.0)):
        own_set = np.array([own], np.float32)
        found = top1(named("q", query), own_set, named("ab", gallery), sets)
        assert found == pytest.approx(shared)


def test_blocks_change_nothing(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 4)).astype(np.float32)
    labels, images = rng.integers(0, 3, 50), named(map(str, range(50)), vectors)
    whole = top1(images, labels, images, labels)
    naive = 0
    for n in range(50):
        cosines = vectors @ vectors[n]
        cosines[n] = -np.inf
        naive += labels[int(cosines.argmax())] == labels[n]
    assert whole == naive / 50
    monkeypatch.setattr(similarity, "BLOCK_ENTRIES", 7 * 50)
    assert top1(images, labels, images, labels) == whole


def test_no_queries_score_nothing() -> None:
    nothing = np.empty((0, 2), np.float32)
    none, one = np.empty(0, int), np.zeros(1, int)
    assert top1(named("", nothing), none, named("a", np.ones((1, 2), np.float32)), one) == 0.0
