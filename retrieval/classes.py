"""What a class is, which images train it, and which are held back to measure by.

An identity that occurs once counts as none; an image that is the only one of its label set trains
but is never held out. Every choice follows from (seed, id or identity), not from the order of
tables, and images of one group are never parted.

Axes: N images, L labels.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.dataset.manifest import Manifest
from atlas.dataset.metrics import label_matrix
from atlas.dataset.splits.hold_out import hold_out
from atlas.synthetic.edits import EDITS, plant
from atlas.training.loaders import seed_of
from retrieval.embedder import HeldOut
from retrieval.settings import EmbedderSettings

GALLERY_FIELDS = 2  # training fields of each identity that validation looks in; bounds its cost
MOST_GALLERY = 2000  # the same where classes are large
# Training rotations and flips already: an unseen edit is another one.
UNSEEN_EDITS = tuple(name for name in EDITS if name not in ("exact", "d4"))


@dataclass(frozen=True, kw_only=True)
class TrainingClasses:
    """kind: what a class is.

    class_of: the class of each id that trains, is held out or is looked in. gallery_ids: what
    validation looks in. held_out: validation's queries; where each image is a class of its own,
    they are edited copies of gallery images instead.
    label_sets, label_count: of each such id and of the atlas, where label similarity takes the
        place of classes.
    """

    kind: Literal["identity", "image", "label-set", "label-similarity"]
    class_of: dict[str, int]
    training_ids: tuple[str, ...]
    gallery_ids: tuple[str, ...]
    held_out: HeldOut = field(default_factory=HeldOut)
    label_sets: dict[str, tuple[int, ...]] = field(default_factory=dict)
    label_count: int = 0

    @property
    def class_count(self) -> int:
        return len(set(self.class_of.values()))

    def targets(self, ids: Sequence[str]) -> NDArray[Any]:
        """int64 N of classes; of label similarity float32 N x L, 1 where a label is there."""
        if self.kind == "label-similarity":
            sets = [self.label_sets[image_id] for image_id in ids]
            return label_matrix(sets, self.label_count).astype(np.float32)
        return np.array([self.class_of[image_id] for image_id in ids], np.int64)

    @property
    def summary(self) -> str:
        """The classes and their images in numbers."""
        classes = f"{self.class_count} classes ({self.kind})"
        if self.kind == "image":
            return f"{classes}; epochs are compared by one edited copy of each image"
        alone = sum(count == 1 for count in Counter(self.class_of.values()).values())
        return (
            f"{classes}, {alone} of one image; {len(self.training_ids)} images train, "
            f"{len(self.held_out.held_out_ids)} are held out, "
            f"{len(self.held_out.unseen_identity_ids)} are of unseen identities"
        )


def training_classes(manifest: Manifest, settings: EmbedderSettings) -> TrainingClasses:
    """The classes of an atlas's labelled rows. Raises UserError where there are fewer than two."""
    kind = settings.classes
    if kind == "auto":
        kind = "identity" if manifest.repeated_identities else "image"
    if kind == "image":
        return _image_classes(manifest)
    if kind == "identity":
        return _identity_classes(manifest, settings)
    return _label_classes(manifest, settings, kind)


def _image_classes(manifest: Manifest) -> TrainingClasses:
    ids = manifest.labelled.ids
    if len(ids) < 2:
        raise UserError("an embedder needs at least two labelled images")
    return TrainingClasses(
        kind="image",
        class_of={image_id: n for n, image_id in enumerate(ids)},
        training_ids=ids,
        gallery_ids=ids,
    )


def _identity_classes(manifest: Manifest, settings: EmbedderSettings) -> TrainingClasses:
    fields = _fields_of_identities(manifest)
    seed = settings.training.seed
    shuffled = sorted(fields, key=lambda identity: seed_of(seed, "identity", identity))
    unseen_count = min(int(settings.unseen_identity_share * len(fields)), len(fields) - 2)
    unseen, seen = shuffled[:unseen_count], sorted(shuffled[unseen_count:])
    class_of: dict[str, int] = {}
    training: list[str] = []
    gallery: list[str] = []
    held_out: list[str] = []
    side_of: dict[str, bool] = {}
    for number, identity in enumerate(seen):
        ids = sorted(fields[identity], key=lambda image_id: seed_of(seed, "field", image_id))
        class_of.update(dict.fromkeys(ids, number))
        learned, held = _parted(ids, _groups(manifest, ids), settings.hold_out_share, side_of)
        held_out += held
        training += learned
        gallery += learned[:GALLERY_FIELDS]
    unseen_ids = [image_id for identity in unseen for image_id in fields[identity]]
    return TrainingClasses(
        kind="identity",
        class_of=class_of,
        training_ids=tuple(sorted(training)),
        gallery_ids=tuple(sorted(gallery)),
        held_out=HeldOut(
            held_out_ids=tuple(sorted(held_out)), unseen_identity_ids=tuple(sorted(unseen_ids))
        ),
    )


def _fields_of_identities(manifest: Manifest) -> dict[str, list[str]]:
    fields = defaultdict(list)
    for row in manifest.labelled.rows:
        if row.identity in manifest.repeated_identities:
            fields[str(row.identity)].append(row.id)
    if not fields:
        raise UserError("no identity occurs twice: give Identity to the images of train.csv, or "
                        "take --classes image, label-set or label-similarity")  # fmt: skip
    if len(fields) == 1:
        raise UserError(f"all repeated fields are of identity {next(iter(fields))}: nothing to "
                        "distinguish; give Identity to more images, or to none")  # fmt: skip
    return fields


def _parted(
    ids: Sequence[str], groups: Sequence[str], share: float, side_of: dict[str, bool]
) -> tuple[list[str], list[str]]:
    """Ids that train and ids held out: `share` of them, at least one, whole groups at a time.

    side_of: whether a group is held out, for groups that reach over several identities.
    """
    wanted, sizes = max(1, int(share * len(ids))), Counter(groups)
    held = sum(sizes[group] for group in sizes if side_of.get(group, False))
    undecided = [group for group in sizes if group not in side_of]
    for group in undecided:
        side_of[group] = held + sizes[group] <= wanted
        held += sizes[group] * side_of[group]
    if held == 0 and undecided and len(sizes) > 1:
        side_of[min(undecided, key=lambda group: sizes[group])] = True
    pairs = list(zip(ids, groups, strict=True))
    return [i for i, g in pairs if not side_of[g]], [i for i, g in pairs if side_of[g]]


def _groups(manifest: Manifest, ids: Iterable[str]) -> list[str]:
    """What must not be parted, of each image: its group, or the image itself."""
    rows = [manifest.by_id[image_id] for image_id in ids]
    return [f"group {row.group}" if row.group else f"image {row.parent or row.id}" for row in rows]


def _label_classes(
    manifest: Manifest,
    settings: EmbedderSettings,
    kind: Literal["label-set", "label-similarity"],
) -> TrainingClasses:
    labelled = manifest.labelled
    sets = {row.id: tuple(sorted(row.labels or ())) for row in labelled.rows}
    numbers = {labels: n for n, labels in enumerate(sorted(set(sets.values())))}
    if len(numbers) < 2:
        raise UserError("all labelled images carry the same labels: nothing to distinguish")
    seed = settings.training.seed
    split = hold_out(labelled, share=settings.hold_out_share, seed=seed)
    known = {sets[image_id] for image_id in split.training_ids}
    # Without an image of its label set to find, a query says nothing: it trains instead.
    held_out = tuple(image_id for image_id in split.validation_ids if sets[image_id] in known)
    training = tuple(sorted(sets.keys() - set(held_out)))
    gallery = sorted(training, key=lambda image_id: seed_of(seed, "field", image_id))
    return TrainingClasses(
        kind=kind,
        class_of={image_id: numbers[labels] for image_id, labels in sets.items()},
        training_ids=training,
        gallery_ids=tuple(sorted(gallery[:MOST_GALLERY])),
        held_out=HeldOut(held_out_ids=held_out),
        label_sets=sets if kind == "label-similarity" else {},
        label_count=len(manifest.spec.labels),
    )


def edited_copy(image_CHW: NDArray[np.uint8], image_id: str, seed: int) -> NDArray[np.uint8]:
    """The one edit of an image that training does not make: which and how, by (seed, id)."""
    rng = np.random.default_rng(seed_of(seed, "copy", image_id))
    return plant(image_CHW, UNSEEN_EDITS[int(rng.integers(len(UNSEEN_EDITS)))], rng)
