import cv2
import numpy as np
import pytest

from index.copies.hash_choice import CHOICES, choose_hash
from index.copies.hashes import hash_field
from index.copies.images import Images
from index.copies.trials import plant_copies, source_of
from tests.image_sources import Pixels

SIDE_PX = 64
IDS = tuple(map(str, range(60)))


def pattern(seed, cells):
    """A smooth random picture with so many cells along a side."""
    coarse = np.random.default_rng(seed).normal(size=(cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)


def images_of(draw):
    def read(ids):
        shown = [np.clip(128 + 30 * draw(int(i)), 0, 255).astype(np.uint8)[None] for i in ids]
        return np.stack(shown)

    return Images(what="images", source=Pixels(read, lambda ids: [f"pixels of {i}" for i in ids]))


def finds(images, kind):
    """How many planted copies have fewer different bits with their source than with any other."""
    copies = plant_copies(IDS, images, channels=1, count=len(IDS), seed=0)
    sources = [source_of(i) for i in copies.ids]
    upright = [hash_field(field, kind)[0] for field in images.read(sources)]
    count = 0
    for n, field in enumerate(copies.read(copies.ids)):
        turned = hash_field(field, kind)
        bits = [min(int(np.bitwise_count(t ^ one).sum()) for t in turned) for one in upright]
        nearest = min(range(len(bits)), key=lambda m: (bits[m], sources[m]))
        count += nearest == n
    return count


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        pytest.param(lambda i: pattern(i, 6), None, id="unlike images"),
        pytest.param(
            lambda i: 3 * pattern(1000, 5) + 0.4 * pattern(i, 20), "phash256", id="alike images"
        ),
    ],
)
def test_the_hash_that_finds_most_planted_copies_is_chosen(draw, expected, tmp_path):
    images = images_of(draw)
    chosen = choose_hash(IDS, images, channels=1, seed=0, folder=tmp_path)
    counts = {kind: finds(images, kind) for kind in CHOICES}
    assert counts[chosen] == max(counts.values())
    if expected:
        assert chosen == expected
        assert counts[chosen] > min(counts.values())
