"""Methods that take a dozen lines of code: SIFT with RANSAC, a hash of 256 bits, equal blocks.

They see the same composites as the rivals and compare every test image with every labelled one.
Each has a threshold that a user would start from; nothing is tuned. Axes: Q queries, M matches, K
keypoints, T flips and rotations, B blocks, P pixels of a block.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from benchmarks.leaks.claims import (
    HASH_256,
    PLAIN,
    SHARED_BLOCKS,
    SIFT,
    About,
    Compare,
    best_matches,
    is_done,
    save_claims,
)
from benchmarks.leaks.composites import TABLE
from index.copies.hashes import hash_field
from index.copies.sketches import blocks_of

Gray = Mapping[str, NDArray[np.uint8]]

# The tutorial of OpenCV ("Feature Matching + Homography") has these three.
RATIO, LEAST_MATCHES, RANSAC_PX = 0.75, 10, 5.0
MOST_APART = 10 / 64  # of the bits, as imagededup has it for 64
SIDE_PX, BLOCK_PX = 96, 12
HIGH_PASS_PX, AGREES_FROM = 3.0, 0.8
LEAST_SHARE = 0.5


def run_plain(rgb: Path, claims: Path) -> None:
    """Run what is not done yet.

    Args:
        rgb: What composites.py wrote.
        claims: Where the claims go.
    """
    if all(is_done(claims, method) for method in PLAIN):
        return
    table = pd.read_csv(rgb / TABLE, dtype=str)
    splits = dict(zip(table["Id"], table["split"], strict=True))
    gray = {i: np.asarray(Image.open(rgb / "images" / f"{i}.png").convert("L")) for i in splits}
    for method, (claims_from, make) in METHODS.items():
        if not is_done(claims, method):
            start = time.perf_counter()
            found = best_matches(splits, make(gray), within_gallery=False, within_tests=False)
            seconds = time.perf_counter() - start
            about = About(
                method=method, claims_from=claims_from, seconds=seconds, within_gallery=False
            )
            save_claims(claims, about, found)


def sift(gray: Gray) -> Compare:
    """Return a comparison by the pairs of keypoints that one homography explains."""
    detector = cv2.SIFT_create()  # type: ignore[attr-defined]
    found = {i: detector.detectAndCompute(picture, None) for i, picture in gray.items()}
    matcher = cv2.BFMatcher(cv2.NORM_L2)

    def inliers(query: str, match: str) -> float:
        (ours, one), (theirs, other) = found[query], found[match]
        if one is None or other is None or min(len(one), len(other)) < 2:
            return -np.inf
        pairs = [
            best
            for best, second in matcher.knnMatch(one, other, k=2)
            if best.distance < RATIO * second.distance
        ]
        if len(pairs) < LEAST_MATCHES:
            return -np.inf
        start = np.array([ours[pair.queryIdx].pt for pair in pairs], np.float32)
        end = np.array([theirs[pair.trainIdx].pt for pair in pairs], np.float32)
        _, agree = cv2.findHomography(start, end, cv2.RANSAC, RANSAC_PX)
        return -np.inf if agree is None else float(agree.sum())

    return partial(_each_pair, inliers)


def hashed(gray: Gray) -> Compare:
    """Return a comparison by the share of equal bits, the query in all flips and rotations."""
    codes_TB = {
        i: np.unpackbits(hash_field(picture[None], "phash256")[:, 0], axis=1)
        for i, picture in gray.items()
    }

    def equal(queries: Sequence[str], matches: Sequence[str]) -> NDArray[np.float64]:
        upright_MB = np.stack([codes_TB[i][0] for i in matches]).astype(np.float32)
        signs_MB = 2 * upright_MB - 1
        each = [2 * codes_TB[i].astype(np.float32) - 1 for i in queries]
        best_QM = np.stack([(signs_TB @ signs_MB.T).max(axis=0) for signs_TB in each])
        return np.asarray((1 + best_QM / signs_MB.shape[1]) / 2, np.float64)

    return equal


def shared_blocks(gray: Gray) -> Compare:
    """Return a comparison by the share of blocks that look alike in two upright pictures."""
    blocks_BP = {i: _blocks(picture) for i, picture in gray.items()}

    def alike(queries: Sequence[str], matches: Sequence[str]) -> NDArray[np.float64]:
        q_BQP = np.stack([blocks_BP[i] for i in queries], axis=1)
        m_BPM = np.stack([blocks_BP[i] for i in matches], axis=2)
        return np.asarray((q_BQP @ m_BPM > AGREES_FROM).mean(axis=0), np.float64)

    return alike


METHODS: dict[str, tuple[float, Callable[[Gray], Compare]]] = {
    SIFT: (LEAST_MATCHES, sift),
    HASH_256: (1 - MOST_APART, hashed),
    SHARED_BLOCKS: (LEAST_SHARE, shared_blocks),
}


def _each_pair(
    compare: Callable[[str, str], float], queries: Sequence[str], matches: Sequence[str]
) -> NDArray[np.float64]:
    return np.array([[compare(query, match) for match in matches] for query in queries])


def _blocks(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the high-passed blocks with mean 0 and length 1, B x P."""
    size = (SIDE_PX, SIDE_PX)
    small = cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    high = small - cv2.GaussianBlur(small, (0, 0), HIGH_PASS_PX)
    blocks_BP = blocks_of(high, BLOCK_PX)
    blocks_BP = blocks_BP - blocks_BP.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(blocks_BP, axis=1, keepdims=True)
    return np.asarray(blocks_BP / np.maximum(lengths, 1e-3), np.float32)
