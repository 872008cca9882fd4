import numpy as np

from retrieval import metrics
from retrieval.metrics import top1


def test_by_hand() -> None:
    gallery = np.array([[1, 0], [0, 1], [0.8, 0.6]], np.float32)
    queries = np.array([[1, 0], [0, 1]], np.float32)
    # "a" may not find itself, so "c" is its nearest; "q" finds "b".
    found = top1(queries, ["a", "q"], [5, 6], gallery, ["a", "b", "c"], [5, 6, 5])
    assert found == 1.0
    assert top1(queries, ["a", "q"], [5, 7], gallery, ["a", "b", "c"], [5, 6, 5]) == 0.5


def test_blocks_change_nothing(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 4)).astype(np.float32)
    labels, ids = rng.integers(0, 3, 50).tolist(), [str(n) for n in range(50)]
    whole = top1(vectors, ids, labels, vectors, ids, labels)
    naive = 0
    for n in range(50):
        similarity = vectors @ vectors[n]
        similarity[n] = -np.inf
        naive += labels[int(similarity.argmax())] == labels[n]
    assert whole == naive / 50
    monkeypatch.setattr(metrics, "QUERIES_AT_ONCE", 7)
    assert top1(vectors, ids, labels, vectors, ids, labels) == whole


def test_no_queries_score_nothing() -> None:
    nothing = np.empty((0, 2), np.float32)
    assert top1(nothing, [], [], np.ones((1, 2), np.float32), ["a"], [0]) == 0.0
