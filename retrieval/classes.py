"""Which field trains which class, and which are held back to measure by.

An identity that occurs once counts as none. Every choice follows from (seed, id or identity), not
from the order of tables.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from atlas.edits import EDITS, plant
from atlas.errors import UserError
from atlas.manifest import Manifest
from engine.loaders import seed_of
from retrieval.embedder import HeldOut
from retrieval.settings import EmbedderSettings

HELD_OUT_SHARE = 4  # one field in so many, and at least one
GALLERY_FIELDS = 2  # training fields of each class that validation looks in; bounds its cost
# Training turns and flips already: an unseen edit is another one.
UNSEEN_EDITS = tuple(name for name in EDITS if name not in ("exact", "d4"))


@dataclass(frozen=True, kw_only=True)
class TrainingClasses:
    """kind: what a class is.

    class_of: the class of each id that trains, is held out or is looked in. gallery_ids: what
    validation looks in. held_out: for identities, its fields are validation's queries; where each
    image is a class of its own, the queries are edited copies of gallery images.
    """

    kind: Literal["identity", "image"]
    class_of: dict[str, int]
    training_ids: tuple[str, ...]
    gallery_ids: tuple[str, ...]
    held_out: HeldOut

    @property
    def class_count(self) -> int:
        return len(set(self.class_of.values()))

    @property
    def sentence(self) -> str:
        """What a user is told."""
        if self.kind == "image":
            return (
                f"no identity occurs twice: each of {self.class_count} labelled images is a class "
                "of its own, and epochs are compared by one edited copy of each"
            )
        return (
            f"{self.class_count} identities, {len(self.training_ids)} fields train, "
            f"{len(self.held_out.held_out_ids)} are held out; "
            f"{len(self.held_out.unseen_identity_ids)} more are of identities that train nothing"
        )


def training_classes(manifest: Manifest, settings: EmbedderSettings) -> TrainingClasses:
    """The classes of an atlas's labelled rows. Raises UserError where there are fewer than two."""
    fields = _fields_of_identities(manifest)
    if len(fields) == 1:
        raise UserError(f"all repeated fields are of identity {next(iter(fields))}: nothing to "
                        "tell apart; give Identity to more images, or to none")  # fmt: skip
    if not fields:
        return _image_classes(manifest)
    return _identity_classes(fields, settings)


def _fields_of_identities(manifest: Manifest) -> dict[str, list[str]]:
    fields = defaultdict(list)
    for row in manifest.labelled.rows:
        if row.identity in manifest.repeated_identities:
            fields[str(row.identity)].append(row.id)
    return fields


def _image_classes(manifest: Manifest) -> TrainingClasses:
    ids = manifest.labelled.ids
    if len(ids) < 2:
        raise UserError("an embedder needs at least two labelled images")
    return TrainingClasses(
        kind="image",
        class_of={image_id: n for n, image_id in enumerate(ids)},
        training_ids=ids,
        gallery_ids=ids,
        held_out=HeldOut(),
    )


def _identity_classes(fields: dict[str, list[str]], settings: EmbedderSettings) -> TrainingClasses:
    seed = settings.training.seed
    shuffled = sorted(fields, key=lambda identity: seed_of(seed, "identity", identity))
    unseen_count = min(int(settings.unseen_identity_share * len(fields)), len(fields) - 2)
    unseen, seen = shuffled[:unseen_count], sorted(shuffled[unseen_count:])
    class_of: dict[str, int] = {}
    training, gallery, held_out = [], [], []
    for number, identity in enumerate(seen):
        ids = sorted(fields[identity], key=lambda image_id: seed_of(seed, "field", image_id))
        class_of.update(dict.fromkeys(ids, number))
        held = max(1, len(ids) // HELD_OUT_SHARE)
        held_out += ids[:held]
        training += ids[held:]
        gallery += ids[held : held + GALLERY_FIELDS]
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


def edited_copy(image_CHW: NDArray[np.uint8], image_id: str, seed: int) -> NDArray[np.uint8]:
    """The one edit of an image that training does not make: which and how, by (seed, id)."""
    rng = np.random.default_rng(seed_of(seed, "copy", image_id))
    return plant(image_CHW, UNSEEN_EDITS[int(rng.integers(len(UNSEEN_EDITS)))], rng)
