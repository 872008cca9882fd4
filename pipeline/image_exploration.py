"""The images of an atlas, looked at: sizes, values of each channel, copies.

Axes: N images, C channels, V the 256 values of a pixel.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from atlas.image_files import read_row
from atlas.manifest import SPLITS, Manifest
from atlas.pixel_counts import VALUES, channel_table
from index.look_alikes import EQUAL, alike_images, equal_images
from index.registration import FloatArray, band_passed, prepare, register
from index.settings import RegistrationSettings
from pipeline.image_scan import ImageScan, scan_images
from pipeline.settings import ExplorationSettings

COMPARED_PAIRS = 1000  # a pair takes some 40 ms
COPY_EVIDENCE = 0.95  # the highest of the cuts that were measured on three real atlases
COPIES_COLUMNS = ("kind", "id", "split", "other", "other_split", "bits", "evidence", "same_labels")


@dataclass(frozen=True, kw_only=True)
class ImageExploration:
    """manifest: the images whose files are there; scanned: those of them that were decoded.

    sizes: split, width_px, height_px, images, percent; channels: see atlas/pixel_counts.py.
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
    alike = alike_images([scan.ids[n] for n in firsts], scan.hashes_NTCB[firsts])
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
