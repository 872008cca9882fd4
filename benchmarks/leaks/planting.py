"""What is planted: edited copies of an atlas's labelled images, each with what is known of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from atlas.core.errors import DataError
from atlas.core.files import content_hash
from atlas.dataset.artifacts import SAME_IMAGE, load_table
from atlas.dataset.images import read_field
from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.synthetic.edits import Image
from benchmarks.leaks.edits import RANGES, Edit, Hardness, Pixels, Said, edits_of

Split = Literal["train", "test"]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One new image. relation, source, edit: as truth.csv has them; said: the edit's values.

    A planted image of the split train is a copy within the gallery.
    """

    id: str
    split: Split
    relation: str
    source: str
    edit: str
    target: str
    pixels: Pixels
    said: Said = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source:
    """An atlas to plant into. truth: of its test images."""

    data: Path
    manifest: Manifest
    truth: pd.DataFrame
    seed: int

    @property
    def gallery(self) -> tuple[str, ...]:
        return self.manifest.labelled.ids

    def read(self, image_id: str) -> Image:
        spec = self.manifest.spec
        return read_field(self.manifest.by_id[image_id].files, spec.channels)

    def target(self, image_id: str) -> str:
        """Return the labels in the form of the tables."""
        labels = self.manifest.by_id[image_id].labels
        if labels is not None:
            return format_labels(labels)
        return str(self.truth.set_index("Id").at[image_id, "Target"])

    def test_ids(self, *relations: str) -> list[str]:
        return self.truth.loc[self.truth["relation"].isin(relations), "Id"].tolist()

    def order(self, of: Sequence[str], lot: str) -> list[str]:
        """Return the images shuffled, in a different order for each purpose."""
        rng = np.random.default_rng(_number(self.seed, lot))
        return [of[place] for place in rng.permutation(len(of))]


def open_source(data: Path, seed: int) -> Source:
    """Raises DataError where there is no truth.csv, or 16-bit counts that an edit would lose."""
    manifest = read_manifest(data)
    if not (data / "truth.csv").exists():
        raise DataError(str(data), ["no truth.csv: which test images are novel is not known"])
    if manifest.spec.max_value is not None:
        raise DataError(str(data), ["atlas.toml has a max_value; edits are made on 8 bits"])
    truth = load_table(data / "truth.csv")
    return Source(data=data, manifest=manifest, truth=truth, seed=seed)


def copies(source: Source, hardness: Hardness, share: float) -> Iterator[Planted]:
    """Copies of `share` of the gallery, each edit equally often, one of a source; above 1 the
    sources come round again, with the next edit."""
    edits = edits_of(hardness, len(source.manifest.spec.channels))
    order = source.order(source.gallery, "copies")
    for number in range(round(share * len(order))):
        rotation, place = divmod(number, len(order))
        edit = edits[(number + rotation) % len(edits)]
        yield copy_of(source, order[place], edit, hardness, f"{hardness} {number}")


def copy_of(
    source: Source,
    image_id: str,
    edit: Edit,
    hardness: Hardness,
    lot: str,
    *,
    split: Split = "test",
    relation: str = SAME_IMAGE,
    name: str | None = None,
    target: str | None = None,
) -> Planted:
    """An edited copy of any image of the atlas. name: stands for the edit; target: for its own."""
    rng = np.random.default_rng(_number(source.seed, lot))
    pixels, said = edit(source.read(image_id), rng, RANGES[hardness])
    return Planted(
        id=opaque(source.seed, lot),
        split=split,
        relation=relation,
        source=image_id,
        edit=name or edit.__name__,
        target=target or source.target(image_id),
        pixels=pixels,
        said=said,
    )


def opaque(seed: int, lot: str) -> str:
    """Return 16 hexadecimal digits that reveal nothing about the image."""
    return content_hash(str(seed), lot)


def _number(seed: int, lot: str) -> int:
    return int(content_hash("random numbers", str(seed), lot), 16)
