"""The images of an atlas, looked at: sizes, values of each channel, copies.

Axes: N images, C channels, V the 256 values of a pixel.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from atlas.core.errors import DataError
from atlas.core.files import content_hash
from atlas.core.parallel import DECODING_THREADS, by_threads
from atlas.core.row_cache import fill_rows
from atlas.dataset.image_files import read_row
from atlas.dataset.images import ImageProblem, read_field, resize_field
from atlas.dataset.manifest import SPLITS, ImageRow, Manifest
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.store import fingerprint
from atlas.workflows.settings import ExplorationSettings
from index.copies.hashes import BYTES, EQUAL, TURNS, equal_images, hash_field, near_duplicates
from index.copies.registration import FloatArray, band_passed, prepare, register
from index.settings import HashKind, RegistrationSettings

COMPARED_PAIRS = 1000  # a pair takes some 40 ms
COPY_EVIDENCE = 0.95  # the highest of the cuts that were measured on three real atlases
COPIES_COLUMNS = ("kind", "id", "split", "other", "other_split", "bits", "evidence", "same_labels")


@dataclass(frozen=True, kw_only=True)
class ImageExploration:
    """manifest: the images whose files are there; scanned: those of them that were decoded.

    sizes: split, width_px, height_px, images, percent; channels: see `channel_table`.
    counts_CV: by split. look_alikes: COPIES_COLUMNS, equal images first, then what looks alike by
    falling evidence. alike: how many pairs look alike to the hash, compared or not.
    """

    manifest: Manifest
    scanned: Manifest
    sizes: pd.DataFrame
    channels: pd.DataFrame
    counts_CV: dict[str, NDArray[np.int64]]
    look_alikes: pd.DataFrame
    alike: int

    @property
    def equal(self) -> pd.DataFrame:
        return self.look_alikes[self.look_alikes["kind"] == EQUAL]

    @property
    def compared(self) -> pd.DataFrame:
        return self.look_alikes[self.look_alikes["kind"] != EQUAL]

    @property
    def near(self) -> pd.DataFrame:
        """What most likely shows one field, though not by the same pixels."""
        return self.compared[self.compared["evidence"] >= COPY_EVIDENCE]


def explore_images(
    manifest: Manifest, work: Path, settings: ExplorationSettings
) -> ImageExploration:
    """manifest: at least one image. What is finished is kept below `work`."""
    scanned = _sampled(manifest, settings)
    scan = scan_images(scanned, work / "explored")
    equal = equal_images(scan.ids, scan.digests)
    later = frozenset(equal["id"])
    firsts = [n for n, image_id in enumerate(scan.ids) if image_id not in later]
    alike = near_duplicates([scan.ids[n] for n in firsts], scan.hashes_NTCB[firsts])
    compared = _with_evidence(alike[:COMPARED_PAIRS], scanned)
    split_counts = _counts_by_split(scanned, scan)
    return ImageExploration(
        manifest=manifest,
        scanned=scanned,
        sizes=size_table(manifest),
        channels=pd.concat(
            [channel_table(c, manifest.spec.channels, split) for split, c in split_counts.items()],
            ignore_index=True,
        ),
        counts_CV={split: c.sum(axis=0, dtype=np.int64) for split, c in split_counts.items()},
        look_alikes=_told(pd.concat([equal.assign(evidence=1.0), compared]), manifest),
        alike=len(alike),
    )


def size_table(manifest: Manifest) -> pd.DataFrame:
    """split, width_px, height_px, images, percent (of the split), the commonest first."""
    rows = [(row.split, row.width_px, row.height_px) for row in manifest.rows]
    columns = ["split", "width_px", "height_px"]
    table = pd.DataFrame(rows, columns=columns).value_counts(columns).reset_index(name="images")
    table["percent"] = 100 * table["images"] / table.groupby("split")["images"].transform("sum")
    table["order"] = table["split"].map({split: n for n, split in enumerate(SPLITS)})
    ranked = table.sort_values(
        ["order", "images", "width_px", "height_px"], ascending=[True, False, True, True]
    )
    return ranked.drop(columns="order").reset_index(drop=True)


def value_table(found: ImageExploration) -> pd.DataFrame:
    """How many pixels have each value: value, then a column for each split and channel."""
    columns = {
        f"{split} {channel}": counts_CV[c]
        for split, counts_CV in found.counts_CV.items()
        for c, channel in enumerate(found.manifest.spec.channels)
    }
    return pd.DataFrame({"value": range(VALUES), **columns})


def _sampled(manifest: Manifest, settings: ExplorationSettings) -> Manifest:
    """A function of ids and seed; the order of the rows stays."""
    if settings.sample is None or settings.sample >= len(manifest.rows):
        return manifest
    rng = np.random.default_rng(settings.seed)
    ids = sorted(manifest.ids)
    drawn = {ids[n] for n in rng.choice(len(ids), settings.sample, replace=False)}
    rows = tuple(row for row in manifest.rows if row.id in drawn)
    return Manifest(spec=manifest.spec, rows=rows)


def _counts_by_split(scanned: Manifest, scan: ImageScan) -> dict[str, NDArray[np.uint32]]:
    splits_N = np.array([row.split for row in scanned.rows])
    present = [split for split in SPLITS if (splits_N == split).any()]
    return {split: scan.counts_NCV[splits_N == split] for split in present}


def _with_evidence(pairs: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """The correlation of the registered pixels of each pair, the highest first."""
    settings = RegistrationSettings()

    def banded(image_id: str) -> FloatArray:
        return band_passed(read_row(manifest.by_id[image_id], manifest.spec), settings)

    def evidence(image_id: str, other: str) -> float:
        return register(prepare(banded(image_id), settings), banded(other), settings).evidence

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # OpenCV lets go of the interpreter
        measured = pool.map(evidence, pairs["id"], pairs["other"])
        bar = tqdm(measured, total=len(pairs), desc="comparing pairs", unit="pair",
                   disable=not len(pairs))  # fmt: skip
        found = pairs.assign(evidence=np.array(list(bar), np.float64))
    return found.sort_values("evidence", ascending=False, kind="stable")


def _told(pairs: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """With splits, and whether the labels agree; empty where one has none."""
    rows = [(manifest.by_id[i], manifest.by_id[o]) for i, o in zip(pairs["id"], pairs["other"],
                                                                   strict=True)]  # fmt: skip
    same = [
        "" if one.labels is None or other.labels is None
        else ("yes" if set(one.labels) == set(other.labels) else "no")
        for one, other in rows
    ]  # fmt: skip
    told = pairs.assign(
        split=[one.split for one, _ in rows],
        other_split=[other.split for _, other in rows],
        same_labels=same,
    )
    return told[list(COPIES_COLUMNS)].reset_index(drop=True)


# One look at every image: its pixels' digest, their values counted, and a perceptual hash.
#
# Axes: N images, C channels, V the 256 values of a pixel, T turns, B bytes of a hash.


HASH_KIND: HashKind = "dhash"
HASHED_PX = 64  # the hash reduces to 9 x 8 anyway, and turning a small field costs a twentieth
ROWS_PER_FILE = 250  # some seconds of work, which is what a killed run loses


@dataclass(frozen=True, kw_only=True)
class ImageScan:
    """What was seen of some images, in the order of ids. digests: equal where pixels are."""

    ids: tuple[str, ...]
    digests: tuple[str, ...]
    counts_NCV: NDArray[np.uint32]
    hashes_NTCB: NDArray[np.uint8]


def scan_images(manifest: Manifest, folder: Path) -> ImageScan:
    """Decodes every image once at its own size; kept below `folder`, where a killed run goes on.

    Raises DataError with the images whose pixels cannot be read.
    """
    spec = manifest.spec
    kind = _row_type(len(spec.channels))
    store = fill_rows(
        folder / content_hash(repr(spec)),
        manifest.ids,
        lambda ids: _scan([manifest.by_id[i] for i in ids], spec, kind),
        provenance={
            "channels": spec.channels,
            "max_value": spec.max_value,
            "hash": HASH_KIND,
            "hashed_px": HASHED_PX,
            "imagehash": imagehash.__version__,
        },
        description="looking at images",
        keys=[fingerprint(row) for row in manifest.rows],
        rows_per_file=ROWS_PER_FILE,
    )
    rows_N = np.ascontiguousarray(store.read(manifest.ids)).view(kind)[:, 0]
    return ImageScan(
        ids=manifest.ids,
        digests=tuple(digest.decode() for digest in rows_N["digest"]),
        counts_NCV=rows_N["counts"],
        hashes_NTCB=rows_N["hashes"],
    )


def _row_type(channels: int) -> np.dtype[np.void]:
    """One image's row, which is stored as bytes."""
    return np.dtype(
        [
            ("digest", "S16"),
            ("counts", "<u4", (channels, VALUES)),
            ("hashes", "u1", (TURNS, channels, BYTES)),
        ]
    )


def _scan(rows: Sequence[ImageRow], spec: AtlasSpec, kind: np.dtype[np.void]) -> NDArray[np.uint8]:
    """N x bytes of a row."""
    made_N = np.zeros(len(rows), kind)

    def look(n: int) -> str:
        try:
            field = read_field(rows[n].files, spec.channels, max_value=spec.max_value)
        except ImageProblem as problem:
            return f"{rows[n].split}/{problem}"
        made_N[n]["digest"] = content_hash(field).encode()
        made_N[n]["counts"] = value_counts(field)
        made_N[n]["hashes"] = hash_field(resize_field(field, HASHED_PX), HASH_KIND)
        return ""

    said = by_threads(look, range(len(rows)), threads=DECODING_THREADS)
    problems = [problem for problem in said if problem]
    if problems:
        raise DataError(str(rows[0].files[0].parent.parent), problems)
    return made_N.view(np.uint8).reshape(len(rows), -1)


# What a channel's pixels look like, from how often each of the 256 values occurs.
#
# Counts add up over images, so every figure is of all pixels that were counted, and exact.
# Axes: N images, C channels, V the 256 values of a pixel.


VALUES = 256
WHITE = VALUES - 1
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

Counts = NDArray[np.integer[Any]]


def value_counts(field: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Of a field C x H x W: C x V."""
    counted = [np.bincount(plane.ravel(), minlength=VALUES) for plane in field]
    return np.array(counted, np.uint32)


def channel_figures(counts_NV: Counts) -> dict[str, float]:
    """Of one channel over some images, at least one: images, pixels, mean, sd, percentiles.

    black, saturated: percent of the pixels that are 0 and 255. flat: images of one value only.
    sd_of_means: how far the images' means scatter about their own mean.
    """
    counts_V = counts_NV.sum(axis=0, dtype=np.int64)
    pixels = int(counts_V.sum())
    mean, sd = _moments(counts_V)
    return {
        "images": len(counts_NV),
        "pixels": pixels,
        "mean": mean,
        "sd": sd,
        "sd_of_means": float(np.std([_moments(counts)[0] for counts in counts_NV])),
        **{f"p{share}": _percentile(counts_V, share) for share in PERCENTILES},
        "black": 100 * int(counts_V[0]) / pixels,
        "saturated": 100 * int(counts_V[WHITE]) / pixels,
        "flat": int(((counts_NV > 0).sum(axis=1) == 1).sum()),
    }


def channel_table(counts_NCV: Counts, channels: tuple[str, ...], split: str) -> pd.DataFrame:
    """A row for each channel of the images of a split: split, channel, `channel_figures`."""
    rows = [
        {"split": split, "channel": channel, **channel_figures(counts_NCV[:, c])}
        for c, channel in enumerate(channels)
    ]
    return pd.DataFrame(rows)


def _moments(counts_V: Counts) -> tuple[float, float]:
    """Mean and standard deviation."""
    share_V = counts_V / counts_V.sum()
    mean = float(share_V @ np.arange(VALUES))
    return mean, float(np.sqrt(share_V @ (np.arange(VALUES) - mean) ** 2))


def _percentile(counts_V: Counts, percent: int) -> int:
    """The least value that so many percent of the pixels do not exceed; whole numbers, exact."""
    reached_V = 100 * np.cumsum(counts_V) >= percent * counts_V.sum()
    return int(np.argmax(reached_V))
