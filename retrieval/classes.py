"""Define the classes that an embedder learns, and choose the images that are held out.

An identity that occurs only once does not form a class. The only image of a label set is always
used for training. Every choice depends on the seed and on the image or identity, not on the order
of the tables, and images of one group always stay on the same side.

Axes: N images, L labels.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import Manifest
from atlas.dataset.metrics import label_matrix
from atlas.dataset.splits.hold_out import hold_out
from atlas.synthetic.edits import EDITS, plant
from atlas.training.loaders import seed_of
from retrieval.embedder_folder import HeldOut
from retrieval.settings import EmbedderSettings

GALLERY_FIELDS = 2  # training fields per identity in the validation gallery, to bound its cost
MOST_GALLERY = 2000  # images in the validation gallery where classes are label sets
# Edits that training does not apply; it rotates and flips images (d4) already.
UNSEEN_EDITS = tuple(name for name in EDITS if name not in ("exact", "d4"))


@dataclass(frozen=True, kw_only=True)
class TrainingClasses:
    """Store the classes of the labelled images and their role in training and validation.

    Attributes:
        kind: What a class is.
        class_of: Class of each image id that is used for training or validation.
        training_ids: Images that the embedder is trained on.
        gallery_ids: Images that the validation queries are compared with.
        held_out: Images that are held out. Where each image is its own class, nothing is held out
            and validation queries edited copies of the gallery images instead.
        class_names: Name of each class by its number: the identity, or the label numbers separated
            by spaces. Empty where each image is its own class, and for label similarity.
        label_sets: Labels of each image id; only filled for label similarity, which has no classes.
        label_count: Number of labels in the atlas; only filled for label similarity.
    """

    kind: Literal["identity", "image", "label-set", "label-similarity"]
    class_of: dict[str, int]
    training_ids: tuple[str, ...]
    gallery_ids: tuple[str, ...]
    held_out: HeldOut = field(default_factory=HeldOut)
    class_names: tuple[str, ...] = ()
    label_sets: dict[str, tuple[int, ...]] = field(default_factory=dict)
    label_count: int = 0

    @property
    def class_count(self) -> int:
        """Return the number of classes."""
        return len(set(self.class_of.values()))

    def targets(self, ids: Sequence[str]) -> NDArray[Any]:
        """Return the training targets of images.

        They are class numbers, int64 N. For label similarity they are float32 N x L, 1 where an
        image carries a label and 0 elsewhere.
        """
        if self.kind == "label-similarity":
            sets = [self.label_sets[image_id] for image_id in ids]
            return label_matrix(sets, self.label_count).astype(np.float32)
        return np.array([self.class_of[image_id] for image_id in ids], np.int64)

    @property
    def summary(self) -> str:
        """Return the number of classes and images as a sentence."""
        classes = f"{self.class_count} classes ({self.kind})"
        if self.kind == "image":
            return f"{classes}; the best epoch is chosen with one edited copy of each image"
        alone = sum(count == 1 for count in Counter(self.class_of.values()).values())
        return (
            f"{classes}, {alone} of them with a single image; {len(self.training_ids)} images for "
            f"training, {len(self.held_out.held_out_ids)} held out, "
            f"{len(self.held_out.unseen_identity_ids)} of unseen identities"
        )


def training_classes(manifest: Manifest, settings: EmbedderSettings) -> TrainingClasses:
    """Return the classes of the labelled images of an atlas.

    Raises:
        UserError: The images form fewer than two classes.
    """
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
        raise UserError(f"an embedder needs at least two labelled images (got {len(ids)})")
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
        class_names=tuple(seen),
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
        raise UserError("no identity occurs twice; fill the column Identity of train.csv, or "
                        "choose --classes image, label-set or label-similarity")  # fmt: skip
    if len(fields) == 1:
        raise UserError(f"{next(iter(fields))} is the only identity that occurs twice, so there "
                        "is nothing to distinguish; fill the column Identity of more images, or "
                        "choose --classes image")  # fmt: skip
    return fields


def _parted(
    ids: Sequence[str], groups: Sequence[str], share: float, side_of: dict[str, bool]
) -> tuple[list[str], list[str]]:
    """Divide ids into those for training and those to hold out, whole groups at a time.

    Args:
        ids: Images of one class.
        groups: Group of each image.
        share: Share of the images to hold out; at least one is, if there is more than one group.
        side_of: Whether a group is held out. It is updated, because a group may contain images of
            several identities.
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
    """Return what must stay together, for each image: its group, or the image itself."""
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
        raise UserError("all labelled images carry the same labels, so there is nothing to "
                        "distinguish; choose --classes identity or image")  # fmt: skip
    seed = settings.training.seed
    split = hold_out(labelled, share=settings.hold_out_share, seed=seed)
    known = {sets[image_id] for image_id in split.training_ids}
    # A query measures nothing if no other image has its label set, so it is used for training.
    held_out = tuple(image_id for image_id in split.validation_ids if sets[image_id] in known)
    training = tuple(sorted(sets.keys() - set(held_out)))
    gallery = sorted(training, key=lambda image_id: seed_of(seed, "field", image_id))
    return TrainingClasses(
        kind=kind,
        class_of={image_id: numbers[labels] for image_id, labels in sets.items()},
        class_names=tuple(map(format_labels, numbers)) if kind == "label-set" else (),
        training_ids=training,
        gallery_ids=tuple(sorted(gallery[:MOST_GALLERY])),
        held_out=HeldOut(held_out_ids=held_out),
        label_sets=sets if kind == "label-similarity" else {},
        label_count=len(manifest.spec.labels),
    )


def edited_copy(
    image_CHW: NDArray[np.uint8], image_id: str, seed: int, edits: Sequence[str] = UNSEEN_EDITS
) -> NDArray[np.uint8]:
    """Return a copy of an image with one of the edits.

    The edit and its strength depend on the seed and the id only.
    """
    rng = np.random.default_rng(seed_of(seed, "copy", image_id))
    return plant(image_CHW, edits[int(rng.integers(len(edits)))], rng)
