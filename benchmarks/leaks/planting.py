"""What is planted: edited copies of an atlas's labelled images, each with what is known of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

import numpy as np
import pandas as pd

from atlas.core.errors import DataError
from atlas.core.files import content_hash
from atlas.dataset.artifacts import NOVEL, SAME_IMAGE, load_table
from atlas.dataset.images import read_field
from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.synthetic.edits import Image
from benchmarks.leaks.edits import RANGES, Edit, Edited, Hardness, Pixels, Said, edits_of
from benchmarks.leaks.wild import OTHERS, WildEdit, wild_edits_of

Split = Literal["train", "test"]
AnyEdit = TypeVar("AnyEdit")
MakesCopy: TypeAlias = Callable[[Image, np.random.Generator], Edited]
WILD: Final = "wild"


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A new image. One of the split train is a copy within the gallery.

    Attributes:
        relation, source, edit: As in truth.csv.
        said: The values of the edit.
        others: The novel test images of which the new image shows a part, too.
    """

    id: str
    split: Split
    relation: str
    source: str
    edit: str
    target: str
    pixels: Pixels
    said: Said = field(default_factory=dict)
    others: tuple[str, ...] = ()


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
    """Yield copies of `share` of the gallery, each edit equally often, one of a source.

    Above 1, sources have a second copy, by the next edit.
    """
    edits = edits_of(hardness, len(source.manifest.spec.channels))
    for number, (image_id, edit) in enumerate(_dealt(source, edits, share)):
        yield copy_of(source, image_id, edit, hardness, f"{hardness} {number}")


def wild_copies(source: Source, share: float) -> Iterator[Planted]:
    """Yield copies as `copies` does, by the edits of the hardness `wild`.

    An edit that needs other images takes novel test images, one after the other. Thus a copy shows
    one labelled image only, and every claim of another one is wrong.

    Raises:
        DataError: The atlas has no novel test images.
    """
    novel = source.order(source.test_ids(NOVEL), "others")
    if not novel:
        raise DataError(str(source.data), ["no novel test images: edits paste parts of them"])
    ids = cycle(novel)
    edits = wild_edits_of(len(source.manifest.spec.channels))
    for number, (image_id, edit) in enumerate(_dealt(source, edits, share)):
        others = tuple(islice(ids, OTHERS.get(edit, 0)))
        yield _copy(
            source,
            image_id,
            _beside(edit, [source.read(other) for other in others]),
            f"{WILD} {number}",
            name=edit.__name__,
            others=others,
        )


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
    """Return an edited copy of an image of the atlas.

    Args:
        source: The atlas.
        image_id: The image.
        edit: The edit.
        hardness: The ranges of the edit.
        lot: The seed of the edit and of the id, together with that of the source.
        split: The split of the copy.
        relation: As in truth.csv.
        name: What truth.csv calls the edit; by default its own name.
        target: The labels of the copy; by default those of the image.
    """

    def made(image: Image, rng: np.random.Generator) -> Edited:
        return edit(image, rng, RANGES[hardness])

    return _copy(
        source, image_id, made, lot, split=split, relation=relation, name=name or edit.__name__,
        target=target,
    )  # fmt: skip


def _copy(
    source: Source,
    image_id: str,
    edit: MakesCopy,
    lot: str,
    *,
    name: str,
    split: Split = "test",
    relation: str = SAME_IMAGE,
    target: str | None = None,
    others: tuple[str, ...] = (),
) -> Planted:
    pixels, said = edit(source.read(image_id), np.random.default_rng(_number(source.seed, lot)))
    return Planted(
        id=opaque(source.seed, lot),
        split=split,
        relation=relation,
        source=image_id,
        edit=name,
        target=target or source.target(image_id),
        pixels=pixels,
        said=said,
        others=others,
    )


def _beside(edit: WildEdit, others: Sequence[Image]) -> MakesCopy:
    """Return an edit with the other images that it takes parts of."""

    def made(image: Image, rng: np.random.Generator) -> Edited:
        return edit(image, others, rng)

    return made


def _dealt(source: Source, edits: Sequence[AnyEdit], share: float) -> Iterator[tuple[str, AnyEdit]]:
    """Yield images of the gallery at random, each with an edit."""
    order = source.order(source.gallery, "copies")
    for number in range(round(share * len(order))):
        again, place = divmod(number, len(order))
        yield order[place], edits[(number + again) % len(edits)]


def opaque(seed: int, lot: str) -> str:
    """Return 16 hexadecimal digits that reveal nothing about the image."""
    return content_hash(str(seed), lot)


def _number(seed: int, lot: str) -> int:
    return int(content_hash("random numbers", str(seed), lot), 16)
