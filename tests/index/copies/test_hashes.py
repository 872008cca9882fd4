"""Candidates by perceptual hashes, against a naive search over all pairs and rotations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from atlas.synthetic.edits import plant, rotated
from index.copies.hashes import HASHES, ROTATIONS, HashIndex, hash_field, hash_images
from index.copies.images import Images
from tests.image_sources import Pixels

SIDE = 64


def field(seed: int, channels: int = 2) -> np.ndarray:
    """Soft blobs, so that a hash sees shapes and not noise; uint8 C x 64 x 64."""
    rng = np.random.default_rng(seed)
    grid = np.mgrid[0:SIDE, 0:SIDE]
    planes = []
    for _ in range(channels):
        spots = zip(rng.uniform(0, SIDE, (6, 2)), rng.uniform(4, 14, 6), strict=True)
        plane = sum(
            np.exp(-((grid[0] - y) ** 2 + (grid[1] - x) ** 2) / (2 * width**2))
            for (y, x), width in spots
        )
        planes.append(255 * plane / plane.max())
    return np.array(planes).astype(np.uint8)


def distances(query: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Bits over all channels between the nearest rotation of a query and each reference, M."""
    pairs = np.unpackbits(query[:, None] ^ references[None], axis=-1)
    return pairs.sum(axis=(2, 3)).min(axis=0)


@pytest.mark.parametrize("kind", sorted(HASHES))
def test_each_rotation_has_the_very_hash_of_the_rotated_image(kind):
    noisy = np.random.default_rng(0).integers(0, 256, (2, 50, 50), dtype=np.uint8)
    for image in (noisy, field(3)):
        for rotation, codes in enumerate(hash_field(image, kind)):
            planes = [Image.fromarray(plane) for plane in rotated(image, rotation)]
            expected = [HASHES[kind](plane).hash.ravel() for plane in planes]
            np.testing.assert_array_equal(np.unpackbits(codes, axis=-1).astype(bool), expected)


@pytest.mark.parametrize("kind", sorted(HASHES))
def test_a_rotated_and_rescaled_copy_finds_its_source(kind, tmp_path):
    ids = [f"{n:02d}" for n in range(30)]
    fields = {i: field(int(i)) for i in ids}
    source = Pixels(lambda some: np.stack([fields[i] for i in some]))
    images = Images(what="fields", source=source)
    codes = hash_images(ids, images, kind, folder=tmp_path)
    index = HashIndex(ids=tuple(ids), upright_MCB=codes[:, 0])
    copies = [
        hash_field(plant(rotated(fields[i], n % 8), "rescale", np.random.default_rng(n)), kind)
        for n, i in enumerate(ids)
    ]
    found = index.nearest([f"copy {i}" for i in ids], np.stack(copies), 1)
    assert found[:, 0].tolist() == ids


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), k=st.integers(1, 12))
def test_the_nearest_equal_the_naive_search(seed, k):
    rng = np.random.default_rng(seed)
    references = rng.integers(0, 256, (9, 2, 8), dtype=np.uint8)
    queries = rng.integers(0, 256, (5, ROTATIONS, 2, 8), dtype=np.uint8)
    ids = tuple(f"r{n}" for n in range(9))
    found = HashIndex(ids=ids, upright_MCB=references).nearest([*"abcd", "r3"], queries, k)
    for n, name in enumerate([*"abcd", "r3"]):
        bits = distances(queries[n], references)
        ranked = [i for _, i in sorted(zip(bits, ids, strict=True)) if i != name][:k]
        # A reference is only certain to be found by its nearest rotation, which names k + 1.
        near = {i: b for b, i in zip(bits, ids, strict=True)}
        assert [near[i] for i in found[n] if i] == [near[i] for i in ranked]


def test_limits_are_of_each_channel():
    upright = np.zeros((1, 2, 8), np.uint8)
    query = np.zeros((1, ROTATIONS, 2, 8), np.uint8)
    query[:, :, 0, 0] = 0b111
    index = HashIndex(ids=("a",), upright_MCB=upright)
    assert index.nearest(["q"], query, 1, limits_C=np.array([3, 0]))[0, 0] == "a"
    assert index.nearest(["q"], query, 1, limits_C=np.array([2, 64]))[0, 0] == ""
