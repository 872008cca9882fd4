"""One look at every image: its pixels' digest, their values counted, and a perceptual hash.

Axes: N images, C channels, V the 256 values of a pixel, T turns, B bytes of a hash.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from numpy.typing import NDArray

from atlas.errors import DataError
from atlas.files import content_hash
from atlas.images import ImageProblem, read_field, resize_field
from atlas.manifest import ImageRow, Manifest
from atlas.parts import fill_parts
from atlas.pixel_counts import VALUES, value_counts
from atlas.spec import AtlasSpec
from atlas.store import fingerprint
from atlas.threads import DECODING_THREADS, by_threads
from index.hashes import BYTES, TURNS, hash_field
from index.settings import HashKind

HASH_KIND: HashKind = "dhash"
HASHED_PX = 64  # the hash reduces to 9 x 8 anyway, and turning a small field costs a twentieth
ROWS_PER_PART = 250  # some seconds of work, which is what a killed run loses


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
    store = fill_parts(
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
        rows_per_part=ROWS_PER_PART,
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
