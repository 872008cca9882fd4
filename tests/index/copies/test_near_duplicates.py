"""Equal images by digest, and alike ones by hash, against a naive search over all pairs."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index.copies.hashes import ALIKE_BITS, ROTATIONS, equal_images, hash_field, near_duplicates
from tests.index.copies.test_hashes import field


def test_every_repetition_is_paired_with_the_first() -> None:
    table = equal_images([*"abcde"], ["x", "y", "x", "x", "y"])
    assert table[["id", "other"]].to_numpy().tolist() == [["c", "a"], ["d", "a"], ["e", "b"]]
    assert set(table["kind"]) == {"equal"}


def test_a_rotated_image_is_found_and_a_non_match_is_not() -> None:
    fields = [field(0), field(1), np.rot90(field(0), axes=(1, 2)).copy()]
    hashes = np.stack([hash_field(one, "dhash") for one in fields])
    table = near_duplicates([*"abc"], hashes)
    assert table[["id", "other", "bits"]].to_numpy().tolist() == [["c", "a", 0]]


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_alike_pairs_equal_the_naive_search(seed: int) -> None:
    """Hashes scatter by a few bits about two centres, each rotation for itself."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (2, ROTATIONS, 2, 8), dtype=np.uint8)
    hashes = centres[rng.integers(0, 2, 6)].copy()
    for one in hashes:
        for rotation in one:
            for channel in rotation:
                for bit in rng.choice(64, rng.integers(0, 5), replace=False):
                    channel[bit // 8] ^= np.uint8(1 << (bit % 8))
    ids = [f"i{n}" for n in range(len(hashes))]

    def bits(one: int, other: int) -> int:
        return min(
            max(int(np.unpackbits(hashes[q, t, c] ^ hashes[r, 0, c]).sum()) for c in range(2))
            for q, r in ((one, other), (other, one))
            for t in range(ROTATIONS)
        )

    expected = {
        (ids[later], ids[earlier], bits(later, earlier))
        for earlier, later in combinations(range(len(ids)), 2)
        if bits(later, earlier) <= ALIKE_BITS
    }
    table = near_duplicates(ids, hashes)
    assert {tuple(row) for row in table[["id", "other", "bits"]].to_numpy().tolist()} == expected
    assert table["bits"].is_monotonic_increasing
