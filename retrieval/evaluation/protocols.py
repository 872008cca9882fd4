"""Define the protocols of an evaluation: the queries, the references and the correct answers.

- closed: Held-out images of the training identities are compared with the training images.
- open: Each image of an unseen identity is compared with all other images of unseen identities.
- open_set: One image of each identity in one half of the unseen identities is a genuine query, and
  the other images of these identities are the gallery. All images of the other half are impostors.
- all: Every labelled image is compared with all others; for embedders without training.
- test: Test images with known labels are compared with the labelled images.
- same_image, sibling: Test images with that relation to a labelled image are compared with the
  labelled images; the others are impostors.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from atlas.core.files import content_hash
from atlas.dataset.artifacts import NOVEL, SAME_IMAGE, SIBLING
from atlas.dataset.labels import format_labels, parse_labels
from atlas.dataset.manifest import ImageRow, Manifest
from retrieval.embedder_folder import HeldOut

ClassKind = Literal["identity", "label-set"]
LABEL_SET = "label set"  # what a class is, in words


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Store the queries and references of an evaluation, and their classes.

    Attributes:
        name: Name of the protocol.
        class_is: What a class is, in words for a report.
        query_ids: The queries.
        reference_ids: The references.
        classes: Class of each query and reference by id. A reference is a correct answer if it has
            the class of the query. An id without a class has no correct answer.
        relations: Relation of each query to the labelled images, where it is known.
    """

    name: str
    class_is: str
    query_ids: tuple[str, ...]
    reference_ids: tuple[str, ...]
    classes: Mapping[str, Hashable]
    relations: Mapping[str, str] | None = None


def class_kind(manifest: Manifest, asked: Literal["auto"] | ClassKind) -> ClassKind:
    """Return the kind of class.

    `auto` means identity if any identity occurs twice, else label set.
    """
    if asked != "auto":
        return asked
    return "identity" if manifest.repeated_identities else "label-set"


def labelled_classes(manifest: Manifest, kind: ClassKind) -> dict[str, Hashable]:
    """Return the class of each labelled image that has one.

    A class is an identity that occurs twice, or the sorted labels.
    """
    if kind == "label-set":
        return {row.id: label_set(row.labels or ()) for row in manifest.labelled.rows}
    return {row.id: name for row in manifest.labelled.rows if (name := _identity(row, manifest))}


def class_text(name: Hashable) -> str:
    """Return a class as tables contain it: an identity, or label numbers separated by spaces."""
    return format_labels(name) if isinstance(name, tuple) else str(name)


def label_set(labels: tuple[int, ...]) -> tuple[int, ...]:
    """Return labels in the form that makes equal sets equal."""
    return tuple(sorted(labels))


def labelled_protocols(
    manifest: Manifest, kind: ClassKind, held_out: HeldOut, *, untrained: bool, seed: int
) -> list[Protocol]:
    """Return `trained_protocols`, or the protocol `all` if the embedder was not trained."""
    made = trained_protocols(manifest, kind, held_out, seed=seed)
    if made or not untrained:
        return made
    classes = labelled_classes(manifest, kind)
    return [_protocol("all", kind, tuple(classes), tuple(classes), classes)]


def trained_protocols(
    manifest: Manifest, kind: ClassKind, held_out: HeldOut, *, seed: int
) -> list[Protocol]:
    """Return the protocols closed, open and open_set, as far as images were held out.

    The seed decides which half of the unseen identities forms the gallery.
    """
    classes = labelled_classes(manifest, kind)
    held = tuple(i for i in held_out.held_out_ids if i in classes)
    unseen = tuple(i for i in held_out.unseen_identity_ids if i in classes)
    untrained = {*held, *unseen}
    trained = tuple(i for i in classes if i not in untrained)
    made = []
    if held:
        made.append(_protocol("closed", kind, held, trained, classes))
    if unseen:
        made.append(_protocol("open", kind, unseen, unseen, classes))
        made.append(_open_set(kind, unseen, classes, seed))
    return made


def truth_protocols(manifest: Manifest, truth: pd.DataFrame) -> list[Protocol]:
    """Return the protocol test and, if the relations are known, same_image and sibling.

    Args:
        manifest: The images.
        truth: Table of test images with the columns Id and Target, and optionally relation and
            source. Rows whose source is not a labelled image (same_image) or labelled identity
            (sibling) are left out of these two protocols.
    """
    has_relations = {"relation", "source"} <= set(truth.columns)
    ids, references = tuple(truth["Id"]), manifest.labelled.ids
    labels = {
        image_id: label_set(parse_labels(text))
        for image_id, text in zip(ids, truth["Target"], strict=True)
    }
    test = Protocol(
        name="test",
        class_is=LABEL_SET,
        query_ids=ids,
        reference_ids=references,
        classes=labelled_classes(manifest, "label-set") | labels,
        relations=dict(zip(ids, truth["relation"], strict=True)) if has_relations else None,
    )
    if not has_relations:
        return [test]
    images = {image_id: image_id for image_id in references}
    identities = {row.id: row.identity for row in manifest.labelled.rows if row.identity}
    related = [
        _related(truth, SAME_IMAGE, "source image", references, images, (SIBLING, NOVEL)),
        _related(truth, SIBLING, "identity", references, identities, (NOVEL,)),
    ]
    return [test, *(protocol for protocol in related if protocol)]


def _related(
    truth: pd.DataFrame,
    relation: str,
    class_is: str,
    references: tuple[str, ...],
    class_of: Mapping[str, str],
    impostor_relations: tuple[str, ...],
) -> Protocol | None:
    own = truth[(truth["relation"] == relation) & truth["source"].isin(set(class_of.values()))]
    if own.empty:
        return None
    impostors = truth["Id"][truth["relation"].isin(impostor_relations)]
    return Protocol(
        name=relation,
        class_is=class_is,
        query_ids=(*own["Id"], *impostors),
        reference_ids=references,
        classes={**class_of, **dict(zip(own["Id"], own["source"], strict=True))},
    )


def _open_set(
    kind: ClassKind, unseen: tuple[str, ...], classes: Mapping[str, Hashable], seed: int
) -> Protocol:
    fields: dict[Hashable, list[str]] = defaultdict(list)
    for image_id in sorted(unseen, key=lambda image_id: content_hash(str(seed), image_id)):
        fields[classes[image_id]].append(image_id)
    shuffled = sorted(fields, key=lambda name: content_hash(str(seed), "gallery", str(name)))
    half = len(shuffled) // 2
    known, unknown = shuffled[:half], shuffled[half:]
    probes = [fields[name][0] for name in known]
    gallery = [image_id for name in known for image_id in fields[name][1:]]
    impostors = [image_id for name in unknown for image_id in fields[name]]
    return _protocol("open_set", kind, (*probes, *impostors), tuple(gallery), classes)


def _protocol(
    name: str,
    kind: ClassKind,
    query_ids: tuple[str, ...],
    reference_ids: tuple[str, ...],
    classes: Mapping[str, Hashable],
) -> Protocol:
    return Protocol(
        name=name, class_is=kind.replace("-", " "), query_ids=query_ids,
        reference_ids=reference_ids, classes=classes,
    )  # fmt: skip


def _identity(row: ImageRow, manifest: Manifest) -> str | None:
    return row.identity if row.identity in manifest.repeated_identities else None
