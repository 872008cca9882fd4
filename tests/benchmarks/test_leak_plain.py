"""Each plain method finds a copy that its way of comparing must find, and no other image."""

import numpy as np
import pytest

from atlas.synthetic.edits import rotated
from benchmarks.leaks.plain import hashed, shared_blocks, sift
from tests.textures import texture

GALLERY = {f"g{n}": texture(n, channels=1, size=128)[0] for n in range(4)}


def painted(picture):
    return np.where(np.arange(128)[:, None] < 40, np.uint8(0), picture)


@pytest.mark.parametrize(
    ("make", "edit", "least"),
    [
        (sift, lambda picture: rotated(picture[None], 3)[0], 10),
        (hashed, lambda picture: rotated(picture[None], 5)[0], 0.99),
        (shared_blocks, painted, 0.5),
    ],
    ids=["sift", "hash", "blocks"],
)
def test_the_source_of_an_edited_copy_scores_highest(make, edit, least):
    queries = {f"q{n}": edit(GALLERY[f"g{n}"]) for n in range(4)}
    found_QM = make({**GALLERY, **queries})(list(queries), list(GALLERY))
    assert (np.diag(found_QM) >= least).all()
    others = found_QM[~np.eye(4, dtype=bool)]
    assert others.max() < least
