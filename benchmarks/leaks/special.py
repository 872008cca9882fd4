"""Special cases, each a trap of its own; so `edit` of truth.csv calls them:

conflict: a labelled image has a copy with other labels, and a test image is a copy of both.
swapped_channels: a copy whose channels were mixed up.
train_train: a copy within the gallery, with the same labels; planted.csv alone says of it.
test_test: a copy of a novel test image, without a source in the gallery.
blank, constant: images that show nothing, and one of each in the gallery to tempt.
"""

from collections.abc import Iterator

import numpy as np

from atlas.dataset.artifacts import NOVEL
from atlas.dataset.labels import parse_labels
from atlas.synthetic.edits import Image
from benchmarks.leaks.edits import EDITS, Edit, Edited, Ranges
from benchmarks.leaks.planting import Planted, Source, Split, copy_of, opaque

CONFLICT, SWAPPED = "conflict", "swapped_channels"
TRAIN_TRAIN, TEST_TEST, BLANK, CONSTANT = "train_train", "test_test", "blank", "constant"
EMPTY_TEST_IMAGES = 5


def special_cases(source: Source, share: float, gallery_share: float) -> Iterator[Planted]:
    """A source is copied in one way only.

    share: of the gallery whose copies have swapped channels; so many novel ones have copies, too.
    gallery_share: of the gallery that has a copy there, with its own labels and with others.
    """
    order = source.order(source.gallery, "special")
    few = max(1, round(gallery_share * len(order)))
    count = round(share * len(order))
    conflicts, twins, swaps = order[:few], order[few : 2 * few], order[2 * few :][:count]
    novel = source.order(source.test_ids(NOVEL), TEST_TEST)[:count]
    for n, image_id in enumerate(conflicts):
        yield from _conflict(source, image_id, n)
    if len(source.manifest.spec.channels) > 1:
        for n, image_id in enumerate(swaps):
            yield copy_of(source, image_id, swapped_channels, "easy", f"{SWAPPED} {n}")
    for n, image_id in enumerate(twins):
        yield copy_of(
            source, image_id, _easy(n), "easy", f"{TRAIN_TRAIN} {n}", split="train",
            name=TRAIN_TRAIN,
        )  # fmt: skip
    for n, image_id in enumerate(novel):
        yield copy_of(
            source, image_id, _easy(n), "easy", f"{TEST_TEST} {n}", relation=NOVEL, name=TEST_TEST
        )
    yield from _empty_images(source)


def swapped_channels(image: Image, rng: np.random.Generator, ranges: Ranges) -> Edited:
    """Two channels change places; said are their numbers."""
    first, second = (int(c) for c in rng.choice(len(image), 2, replace=False))
    order = list(range(len(image)))
    order[first], order[second] = second, first
    return image[order], {"first": first, "second": second}


def _easy(number: int) -> Edit:
    return EDITS["easy"][number % len(EDITS["easy"])]


def _conflict(source: Source, image_id: str, number: int) -> Iterator[Planted]:
    others = (i for i in source.order(source.gallery, f"labels {number}"))
    own = set(parse_labels(source.target(image_id)))
    contrary = next((i for i in others if set(parse_labels(source.target(i))) != own), None)
    if contrary is None:
        return  # all labels of this atlas are the same: nothing can contradict
    yield copy_of(
        source, image_id, _easy(number), "easy", f"{CONFLICT} train {number}", split="train",
        name=CONFLICT, target=source.target(contrary),
    )  # fmt: skip
    yield copy_of(
        source, image_id, _easy(number + 1), "easy", f"{CONFLICT} {number}", name=CONFLICT
    )


def _empty_images(source: Source) -> Iterator[Planted]:
    shape = source.read(source.gallery[0]).shape
    for n in range(1 + EMPTY_TEST_IMAGES):
        split: Split = "test" if n else "train"
        rng = np.random.default_rng([source.seed, n])
        dark = np.clip(np.rint(rng.normal(2, 1, shape)), 0, 255)  # what a dark camera counts
        level = np.full(shape, 10 + 40 * n)
        for name, pixels in ((BLANK, dark), (CONSTANT, level)):
            yield Planted(
                id=opaque(source.seed, f"{name} {n}"),
                split=split,
                relation=NOVEL,
                source="",
                edit=name,
                target=source.target(source.gallery[n % len(source.gallery)]),
                pixels=pixels.astype(np.uint8),
            )
