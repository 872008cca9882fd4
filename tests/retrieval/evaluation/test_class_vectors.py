import numpy as np

from atlas.dataset.artifacts import EmbeddingSet
from retrieval.class_vectors import ClassVectors
from retrieval.evaluation.measurement import top1_by_class_vectors


def of(names: tuple[str, ...], *vectors: tuple[float, ...]) -> ClassVectors:
    return ClassVectors(names=names, vectors_CD=np.array(vectors, np.float32))


def queries(*vectors: tuple[float, ...]) -> EmbeddingSet:
    ids = tuple(f"q{n}" for n in range(len(vectors)))
    return EmbeddingSet(ids=ids, vectors_ND=np.array(vectors, np.float32), provenance={})


def test_the_nearest_vector_names_the_class() -> None:
    trained = of(("a", "b"), (1, 0), (0, 1))
    asked = queries((0.8, 0.6), (0.6, 0.8), (-0.6, 0.8))
    found = top1_by_class_vectors(asked, {"q0": "a", "q1": "a", "q2": "b"}, trained)
    assert (found.count, found.of) == (2, 3)


def test_the_nearest_subcentre_counts_for_its_class() -> None:
    trained = of(("a", "a", "b"), (1, 0), (-1, 0), (0, 1))
    found = top1_by_class_vectors(queries((-0.8, 0.6)), {"q0": "a"}, trained)
    assert (found.count, found.of) == (1, 1)


def test_label_sets_are_compared_by_their_text() -> None:
    trained = of(("1", "0 2"), (1, 0), (0, 1))
    found = top1_by_class_vectors(queries((0.6, 0.8)), {"q0": (0, 2)}, trained)
    assert (found.count, found.of) == (1, 1)
