"""imagededup and cleanvision on RGB composites, in an environment of their own (requirements.txt).

BENCH/.venv/bin/python -m benchmarks.leaks.rivals --images RGB --out CLAIMS

Each is run and timed as its own documentation says; its claims at other thresholds follow from the
same hashes and vectors. Axes: Q queries, M matches, T rotations, B bytes of a hash.
"""

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
from cleanvision import Imagelab
from imagededup.methods import CNN, AHash, DHash, PHash, WHash
from numpy.typing import NDArray
from PIL import Image

from benchmarks.leaks.claims import (
    COLUMNS,
    RIVALS,
    TEST,
    About,
    best_matches,
    is_done,
    save_claims,
)
from benchmarks.leaks.rival_network import network_of

HASHERS = {"phash": PHash, "dhash": DHash, "ahash": AHash, "whash": WHash}
BITS = 64
MOST_BITS_APART = 10  # imagededup's default
LEAST_COSINE = 0.9  # and for vectors
ROTATIONS = 8
ISSUES = {"exact": ("exact_duplicates",), "near": ("exact_duplicates", "near_duplicates")}

Splits = Mapping[str, str]
Found = tuple[About, pd.DataFrame]


def main(images: Path, out: Path) -> None:
    """Run what is not done yet.

    Args:
        images: what composites.py wrote.
        out: where the claims go.
    """
    table = pd.read_csv(images / "images.csv", dtype=str)
    splits: Splits = dict(zip(table["Id"], table["split"], strict=True))
    # imagededup warns that one of its own defaults has no effect.
    warnings.filterwarnings("ignore", "Parameter num_enc_workers", RuntimeWarning)
    for method in RIVALS:
        if not is_done(out, method):
            print(method, flush=True)
            save_claims(out, *_finder(method)(method, images / "images", splits))


def _finder(method: str) -> Callable[[str, Path, Splits], Found]:
    if method.startswith("cleanvision"):
        return cleanvision
    if method.endswith("CNN"):
        return embedded
    return hashed_in_rotations if method.endswith("8 rotations") else hashed


def hashed(method: str, folder: Path, splits: Splits) -> Found:
    hasher = _hasher(method)
    start = time.perf_counter()
    hashes = hasher.encode_images(image_dir=folder)
    said = hasher.find_duplicates(encoding_map=hashes, max_distance_threshold=MOST_BITS_APART)
    seconds = time.perf_counter() - start
    codes = {_id(name): _bytes(text) for name, text in hashes.items()}

    def compare(queries: Sequence[str], matches: Sequence[str]) -> NDArray[np.float64]:
        return _alike(np.stack([codes[i] for i in queries]), np.stack([codes[i] for i in matches]))

    _check(said, compare, list(splits))
    about = About(method=method, claims_from=_likeness(MOST_BITS_APART), seconds=seconds)
    return about, best_matches(splits, compare)


def hashed_in_rotations(method: str, folder: Path, splits: Splits) -> Found:
    """Hash each query in all 8 flips and rotations, as a user would who expects rotated copies."""
    hasher = _hasher(method)
    start = time.perf_counter()
    codes_TB = {i: _rotated_hashes(hasher, folder, i, split) for i, split in splits.items()}

    def compare(queries: Sequence[str], matches: Sequence[str]) -> NDArray[np.float64]:
        upright_MB = np.stack([codes_TB[i][0] for i in matches])
        each_T = (
            np.stack([codes_TB[i][rotation] for i in queries]) for rotation in range(ROTATIONS)
        )
        return np.asarray(np.max([_alike(q, upright_MB) for q in each_T], axis=0), np.float64)

    found = best_matches(splits, compare, within_gallery=False)
    seconds = time.perf_counter() - start
    return About(
        method=method, claims_from=_likeness(MOST_BITS_APART), seconds=seconds,
        within_gallery=False,
    ), found  # fmt: skip


def cleanvision(method: str, folder: Path, splits: Splits) -> Found:
    """Return sets of images with equal hashes; each image of a set matches all others in it."""
    start = time.perf_counter()
    lab = Imagelab(data_path=str(folder), verbose=False)
    issues = ISSUES[method.split()[1]]
    lab.find_issues({issue: {} for issue in issues}, verbose=False)
    seconds = time.perf_counter() - start
    sets = [[_id(Path(p).name) for p in some] for i in issues for some in lab.info[i]["sets"]]
    rows = [
        (query, match, 1.0)
        for some in sets
        for query in some
        for match in some
        if query != match and (splits[query] == TEST or splits[match] != TEST)
    ]
    about = About(method=method, claims_from=1.0, seconds=seconds)
    return about, pd.DataFrame(rows, columns=COLUMNS).drop_duplicates()


def embedded(method: str, folder: Path, splits: Splits) -> Found:
    model, note = network_of()
    start = time.perf_counter()
    cnn = CNN(verbose=False, model_config=model)
    vectors = cnn.encode_images(image_dir=folder)
    cnn.find_duplicates(encoding_map=vectors, min_similarity_threshold=LEAST_COSINE)
    seconds = time.perf_counter() - start
    at = {_id(name): place for place, name in enumerate(vectors)}

    def compare(queries: Sequence[str], matches: Sequence[str]) -> NDArray[np.float64]:
        q, m = ([at[i] for i in ids] for ids in (queries, matches))
        return np.asarray(cnn.cosine_scores[np.ix_(q, m)], np.float64)

    about = About(method=method, claims_from=LEAST_COSINE, seconds=seconds, note=note)
    return about, best_matches(splits, compare)


def _rotated_hashes(hasher: Any, folder: Path, image_id: str, split: str) -> NDArray[np.uint8]:
    """T x B; of a gallery image only the upright one."""
    pixels = np.asarray(Image.open(folder / f"{image_id}.png"))
    rotations = [
        np.rot90(pixels, number % 4) for number in range(ROTATIONS if split == TEST else 1)
    ]
    laid = [
        rotation[:, ::-1] if number >= 4 else rotation for number, rotation in enumerate(rotations)
    ]
    return np.stack(
        [_bytes(hasher.encode_image(image_array=np.ascontiguousarray(p))) for p in laid]
    )


def _alike(codes_QB: NDArray[np.uint8], codes_MB: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of bits that agree, Q x M."""
    apart_QM = np.bitwise_count(codes_QB[:, None] ^ codes_MB[None]).sum(axis=2)
    return np.asarray(_likeness(apart_QM), np.float64)


def _likeness(bits_apart: Any) -> Any:
    return 1 - bits_apart / BITS


def _check(said: Mapping[str, list[str]], compare: Any, ids: Sequence[str]) -> None:
    """Check that the rival's own search finds what our comparison of its hashes finds."""
    for start in range(0, len(ids), 256):
        some = ids[start : start + 256]
        near_QM = compare(some, ids) >= _likeness(MOST_BITS_APART)
        for query, near_M in zip(some, near_QM, strict=True):
            ours = {i for i, near in zip(ids, near_M, strict=True) if near and i != query}
            theirs = {_id(name) for name in said[f"{query}.png"]}
            if ours != theirs:
                sys.exit(f"error: {query}: imagededup finds {theirs ^ ours} more or less")


def _hasher(method: str) -> Any:
    kind = method.removeprefix("imagededup ").split(",")[0]
    return HASHERS[kind](verbose=False)


def _id(name: str) -> str:
    return name.removesuffix(".png")


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(text), np.uint8)


if __name__ == "__main__":
    tyro.cli(main)
