"""The images of an atlas: sizes, pixel values of each channel, and copies, from one pass.

Axes: N images, C channels, V the 256 values of a pixel, T flips and rotations, B bytes of a hash.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import DataError
from atlas.core.files import content_hash
from atlas.core.parallel import DECODING_THREADS, by_threads
from atlas.core.progress import progress
from atlas.core.row_cache import fill_rows
from atlas.dataset.file_keys import FileKeys
from atlas.dataset.image_files import data_folder, read_row, said_of_file
from atlas.dataset.images import ImageProblem, read_field, resize_field
from atlas.dataset.manifest import SPLITS, ImageRow, Manifest
from atlas.dataset.spec import AtlasSpec
from atlas.workflows.settings import ExplorationSettings
from index.copies.false_alarms import HIGHEST_SCORE
from index.copies.hashes import BYTES, EQUAL, ROTATIONS, equal_images, hash_field, near_duplicates
from index.copies.registration import register
from index.settings import HashKind

COMPARED_PAIRS = 1000  # a pair takes some 0.1 s
COPY_SCORE = 8.0  # of different images, one pair in 10^8 agrees as well
COPIES_COLUMNS = (
    "kind",
    "id",
    "split",
    "other",
    "other_split",
    "bits",
    "registration_score",
    "same_labels",
)

VALUES = 256
WHITE = VALUES - 1
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

HASH_KIND: HashKind = "dhash"
HASHED_PX = 64  # the hash shrinks to 9 x 8 anyway, and rotating a small field is 20 times as fast
ROWS_PER_FILE = 250  # some seconds of work, which is what a killed run loses

Counts = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class ImageExploration:
    """The images of an atlas and what was measured on them.

    Attributes:
        manifest: The images whose files exist.
        scanned: The images that were decoded.
        sizes: The columns split, width_px, height_px, images and percent.
        channels: See `channel_table`.
        counts_CV: The number of pixels of each value, by split.
        look_alikes: COPIES_COLUMNS of equal images, and then of near duplicates by descending
            registration score.
        alike: The number of pairs with similar hashes, whether their pixels were compared or not.
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
        """The images whose pixels are equal to those of an earlier image."""
        return self.look_alikes[self.look_alikes["kind"] == EQUAL]

    @property
    def near(self) -> pd.DataFrame:
        """The pairs that probably show one field, with different pixels."""
        compared = self.look_alikes[self.look_alikes["kind"] != EQUAL]
        return compared[compared["registration_score"] >= COPY_SCORE]

    @property
    def value_table(self) -> pd.DataFrame:
        """The number of pixels of each value, with a column for each split and channel."""
        columns = {
            f"{split} {channel}": counts_V
            for split, counts_CV in self.counts_CV.items()
            for channel, counts_V in zip(self.manifest.spec.channels, counts_CV, strict=True)
        }
        return pd.DataFrame({"value": range(VALUES), **columns})

    def key_figures(self, split: str) -> dict[str, str]:
        """Return the most important figures as text.

        A copy counts in the split of the later image.
        """
        sizes = self.sizes[self.sizes["split"] == split]
        channels = self.channels[self.channels["split"] == split]
        equal, near = (t[t["split"] == split] for t in (self.equal, self.near))
        return {
            "images that were decoded": f"{channels['images'].iloc[0]:,}",
            "different image sizes": f"{len(sizes):,}",
            "most common size": "{width_px} x {height_px} px".format(**sizes.iloc[0]),
            "channels with a single value": f"{channels['flat'].sum():,}",
            "images equal to an earlier one": f"{len(equal):,}",
            "equal images with other labels": f"{(equal['same_labels'] == 'no').sum():,}",
            "near duplicates": f"{len(near):,}",
            "near duplicates with other labels": f"{(near['same_labels'] == 'no').sum():,}",
        }


def explore_images(
    manifest: Manifest, work: Path, settings: ExplorationSettings
) -> ImageExploration:
    """Measure the images of an atlas, which must have at least one.

    Finished work is kept below `work`.
    """
    scanned = _sampled(manifest, settings)
    ids, scan_N = scanned.ids, scan_images(scanned, work / "explored")
    equal = equal_images(ids, scan_N["digest"].astype(str).tolist())
    later = frozenset(equal["id"])
    firsts = [n for n, image_id in enumerate(ids) if image_id not in later]
    alike = near_duplicates([ids[n] for n in firsts], scan_N["hashes"][firsts])
    compared = _with_scores(alike[:COMPARED_PAIRS], scanned)
    splits_N = np.array([row.split for row in scanned.rows])
    counts = {s: scan_N["counts"][splits_N == s] for s in SPLITS if (splits_N == s).any()}
    tables = [channel_table(c, manifest.spec.channels, split) for split, c in counts.items()]
    return ImageExploration(
        manifest=manifest,
        scanned=scanned,
        sizes=size_table(manifest),
        channels=pd.concat(tables, ignore_index=True),
        counts_CV={split: c.sum(axis=0, dtype=np.int64) for split, c in counts.items()},
        look_alikes=_with_splits(
            pd.concat([equal.assign(registration_score=HIGHEST_SCORE), compared]), manifest
        ),
        alike=len(alike),
    )


def size_table(manifest: Manifest) -> pd.DataFrame:
    """Return the number and percentage of images of each size and split, most common first."""
    columns = ["split", "width_px", "height_px"]
    rows = [(SPLITS.index(row.split), row.width_px, row.height_px) for row in manifest.rows]
    table = pd.DataFrame(rows, columns=columns).value_counts(columns).reset_index(name="images")
    table["percent"] = 100 * table["images"] / table.groupby("split")["images"].transform("sum")
    ranked = table.sort_values(
        ["split", "images", "width_px", "height_px"], ascending=[True, False, True, True]
    )
    return ranked.assign(split=[SPLITS[n] for n in ranked["split"]]).reset_index(drop=True)


def scan_images(manifest: Manifest, folder: Path) -> NDArray[np.void]:
    """Decode every image once at its own size.

    Finished rows are kept below `folder`, so the work is resumable.

    Returns:
        A row for each image: digest of the pixels, counts C x V, and hashes T x C x B.

    Raises:
        DataError: Images cannot be read; the error names them.
    """
    spec = manifest.spec
    count = len(spec.channels)
    kind = np.dtype(  # the row of an image, which is stored as bytes
        [
            ("digest", "S16"),
            ("counts", "<u4", (count, VALUES)),
            ("hashes", "u1", (ROTATIONS, count, BYTES)),
        ]
    )
    keys = FileKeys(manifest.rows, folder)
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
        description="decoding images",
        keys=keys,
        rows_per_file=ROWS_PER_FILE,
    )
    keys.keep()
    return np.ascontiguousarray(store.read(manifest.ids)).view(kind)[:, 0]


def value_counts(field: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return how often each value occurs in a field (C x H x W), C x V."""
    counted = [np.bincount(plane.ravel(), minlength=VALUES) for plane in field]
    return np.array(counted, np.uint32)


def channel_table(counts_NCV: Counts, channels: tuple[str, ...], split: str) -> pd.DataFrame:
    """Return one row of `channel_figures` for each channel of the images of a split."""
    rows = [
        {"split": split, "channel": channel, **channel_figures(counts_NCV[:, c])}
        for c, channel in enumerate(channels)
    ]
    return pd.DataFrame(rows)


def channel_figures(counts_NV: Counts) -> dict[str, float]:
    """Return figures of one channel over at least one image.

    black and saturated are the percentages of pixels with the values 0 and 255, and flat counts
    images with a single value. sd_of_means is the standard deviation of the means of images. A
    percentile is the smallest value that this percentage of the pixels does not exceed. Every
    figure is exact and includes all pixels, because counts add up.
    """
    counts_V = counts_NV.sum(axis=0, dtype=np.int64)
    pixels, reached_V = int(counts_V.sum()), 100 * np.cumsum(counts_V)
    mean, sd = _moments(counts_V)
    return {
        "images": len(counts_NV),
        "pixels": pixels,
        "mean": mean,
        "sd": sd,
        "sd_of_means": float(np.std([_moments(counts)[0] for counts in counts_NV])),
        **{f"p{share}": int(np.searchsorted(reached_V, share * pixels)) for share in PERCENTILES},
        "black": 100 * int(counts_V[0]) / pixels,
        "saturated": 100 * int(counts_V[WHITE]) / pixels,
        "flat": int(((counts_NV > 0).sum(axis=1) == 1).sum()),
    }


def _moments(counts_V: Counts) -> tuple[float, float]:
    """Return the mean and the standard deviation."""
    share_V = counts_V / counts_V.sum()
    mean = float(share_V @ np.arange(VALUES))
    return mean, float(np.sqrt(share_V @ (np.arange(VALUES) - mean) ** 2))


def _sampled(manifest: Manifest, settings: ExplorationSettings) -> Manifest:
    if settings.sample is None or settings.sample >= len(manifest.rows):
        return manifest
    rng = np.random.default_rng(settings.seed)
    ids = sorted(manifest.ids)
    drawn = {ids[n] for n in rng.choice(len(ids), settings.sample, replace=False)}
    rows = tuple(row for row in manifest.rows if row.id in drawn)
    return Manifest(spec=manifest.spec, rows=rows)


def _with_scores(pairs: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """Add the registration score of each pair, and sort by it in descending order."""
    asked = list(zip(pairs["id"], pairs["other"], strict=True))
    with progress("comparing pairs", total=len(asked), unit="pairs") as shown:

        def registration_score(pair: tuple[str, str]) -> float:
            one, other = (read_row(manifest.by_id[i], manifest.spec) for i in pair)
            shown.update()
            return register(one, [other])[0].score

        found = pairs.assign(
            registration_score=np.array(by_threads(registration_score, asked), np.float64)
        )
    return found.sort_values("registration_score", ascending=False, kind="stable")


def _with_splits(pairs: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """Add the splits of both images and whether their labels agree ("" if one has no labels)."""
    ids = zip(pairs["id"], pairs["other"], strict=True)
    rows = [(manifest.by_id[one], manifest.by_id[other]) for one, other in ids]
    found = pairs.assign(
        split=[one.split for one, _ in rows],
        other_split=[other.split for _, other in rows],
        same_labels=[_same_labels(one, other) for one, other in rows],
    )
    return found[list(COPIES_COLUMNS)].reset_index(drop=True)


def _same_labels(one: ImageRow, other: ImageRow) -> str:
    if one.labels is None or other.labels is None:
        return ""
    return "yes" if set(one.labels) == set(other.labels) else "no"


def _scan(rows: Sequence[ImageRow], spec: AtlasSpec, kind: np.dtype[np.void]) -> NDArray[np.uint8]:
    """Return the rows of images as bytes."""
    made_N = np.zeros(len(rows), kind)

    def look(n: int) -> str:
        try:
            field = read_field(
                rows[n].files,
                spec.channels,
                max_value=spec.max_value,
                min_value=spec.min_value,
                whole=spec.whole,
            )
        except ImageProblem as problem:
            return said_of_file(rows[n], spec, problem)
        made_N[n]["digest"] = content_hash(field).encode()
        made_N[n]["counts"] = value_counts(field)
        made_N[n]["hashes"] = hash_field(resize_field(field, HASHED_PX), HASH_KIND)
        return ""

    said = by_threads(look, range(len(rows)), threads=DECODING_THREADS)
    problems = [problem for problem in said if problem]
    if problems:
        raise DataError(str(data_folder(rows[0], spec)), problems)
    return made_N.view(np.uint8).reshape(len(rows), -1)
