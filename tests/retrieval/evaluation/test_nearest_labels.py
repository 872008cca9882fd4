import numpy as np
import pytest

from atlas.dataset.artifacts import EmbeddingSet
from retrieval.evaluation.measurement import measure
from retrieval.evaluation.protocols import LABEL_SET, Protocol


def test_macro_f1_of_the_labels_of_the_nearest_image_by_hand():
    vectors = {"a": [1, 0], "b": [0, 1], "q": [0.9, 0.1], "r": [0.2, 0.8], "s": [0.8, 0.2]}
    rows = np.array(list(vectors.values()), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    protocol = Protocol(
        name="test",
        class_is=LABEL_SET,
        query_ids=("q", "r", "s"),
        reference_ids=("a", "b"),
        classes={"a": (0, 1), "b": (2,), "q": (0, 1), "r": (2,), "s": (0, 2)},
    )
    made = EmbeddingSet(ids=tuple(vectors), vectors_ND=rows, provenance={})
    found = measure(protocol, made, seed=0, label_count=4)
    # q and s take 0 and 1 of a, r takes 2 of b: label 0 is right twice; 1 once and wrong once; 2 is
    # right once and missed once; label 3 has no image.
    assert found.nearest_macro_f1 == pytest.approx((1 + 2 / 3 + 2 / 3 + 0) / 4)
    assert measure(protocol, made, seed=0).nearest_macro_f1 is None
