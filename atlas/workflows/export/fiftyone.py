"""The folder format FiftyOneDataset of FiftyOne: metadata.json, samples.json and data/.

The files are what FiftyOne keeps in its database, as extended JSON. FiftyOne brings what an older
version wrote up to date, so the folder claims to be of the first version with this layout.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from atlas.core.files import content_hash, write_json
from atlas.dataset.spec import AtlasSpec
from atlas.workflows.export.content import CORRECTION, TABLE, Content, ExportedImage
from atlas.workflows.export.pictures import save_pictures

DATA_FOLDER = "data"
METADATA_FILE, SAMPLES_FILE = "metadata.json", "samples.json"
VERSION = "1.0.0"
TEXTS = ("match_id", "match", "decision", "reason", "verdict")  # of a claim
NUMBERS = ("similarity", "registration_score", "sibling_score")
_FIELDS, _LABELS = "fiftyone.core.fields", "fiftyone.core.labels"
_TEXT, _NUMBER, _ID = f"{_FIELDS}.StringField", f"{_FIELDS}.FloatField", f"{_FIELDS}.ObjectIdField"
_DOCUMENT, _LIST = f"{_FIELDS}.EmbeddedDocumentField", f"{_FIELDS}.ListField"

Json = dict[str, Any]


def save_fiftyone(folder: Path, content: Content) -> None:
    """Write a dataset in the format FiftyOneDataset.

    Labels are in the field `labels` and those of a submission in `predictions`. The claim about an
    image is the field `claim`, whose label is the relation; its `match` is the id of the sample of
    the match. The field `verdicts` has what people say about its pairs.
    """
    rows = [one.row for one in content.images]
    paths = save_pictures(folder, rows, content.spec, below=lambda row: DATA_FOLDER)
    samples = [_sample(one, paths[one.row.id], content) for one in content.images]
    write_json(folder / SAMPLES_FILE, {"samples": samples})
    write_json(folder / METADATA_FILE, _metadata(content.spec))


def sample_id(image_id: str) -> str:
    """Return the id of the sample of an image: 24 hex digits that follow from the image's id."""
    return _object_id("sample", image_id)


def _object_id(*parts: str) -> str:
    return (content_hash("first", *parts) + content_hash("second", *parts))[:24]


def _sample(one: ExportedImage, path: str, content: Content) -> Json:
    number = sample_id(one.row.id)
    names = None if one.labels is None else content.names_of(one.labels)
    given = one.origin in (TABLE, CORRECTION)
    return {
        "_id": {"$oid": number},
        "_media_type": "image",
        "_rand": int(number[:8], 16) / 16**8,  # FiftyOne shuffles by it
        "filepath": path,
        "tags": [one.row.split],
        "metadata": {
            "_cls": "ImageMetadata", "width": one.row.width_px, "height": one.row.height_px,
        },
        "image_id": one.row.id,
        "labels": _classifications("labels", one, names if given else None),
        "predictions": _classifications("predictions", one, None if given else names),
        "origin": one.origin or None,
        "claim": _claim(one, content) if one.claim else None,
        "verdicts": _verdicts(one),
    }  # fmt: skip


def _classifications(field: str, one: ExportedImage, names: Iterable[str] | None) -> Json | None:
    if names is None:
        return None
    found = [_classification(name, field, one.row.id, name) for name in names]
    return {"_cls": "Classifications", "classifications": found}


def _classification(label: str, *parts: str) -> Json:
    number = {"$oid": _object_id(*parts)}
    return {"_cls": "Classification", "_id": number, "tags": [], "label": label}


def _claim(one: ExportedImage, content: Content) -> Json:
    assert one.claim is not None
    said = asdict(one.claim)
    labels = content.names_of(said.pop("labels"))
    return {
        **_classification(said.pop("relation"), "claim", one.row.id),
        **said,
        "verdict": one.claim.verdict or None,
        "match": sample_id(one.claim.match_id),
        "match_labels": labels,
    }


def _verdicts(one: ExportedImage) -> Json:
    found = [
        _classification(verdict, "verdict", one.row.id, other)
        | {"other_id": other, "other": sample_id(other)}
        for other, verdict in one.verdicts.items()
    ]
    return {"_cls": "Classifications", "classifications": found}


def _metadata(spec: AtlasSpec) -> Json:
    names = list(spec.labels)
    return {
        "name": spec.name,
        "version": VERSION,
        "media_type": "image",
        "classes": {"labels": names, "predictions": names},
        "info": {"channels": list(spec.channels)},
        "sample_fields": list(_fields()),
    }


def _fields() -> Iterator[Json]:
    """Yield the schema of samples: first the fields that all samples of FiftyOne have."""
    yield _field("id", _ID, db_field="_id")
    yield _field("filepath", _TEXT)
    yield _field("tags", _LIST, subfield=_TEXT)
    yield _field("metadata", _DOCUMENT, of="fiftyone.core.metadata.ImageMetadata", fields=[
        *(_field(name, f"{_FIELDS}.IntField") for name in ("size_bytes", "width", "height",
                                                           "num_channels")),
        _field("mime_type", _TEXT),
    ])  # fmt: skip
    for name in ("created_at", "last_modified_at"):
        yield _field(name, f"{_FIELDS}.DateTimeField") | {"read_only": True}
    yield _field("image_id", _TEXT)
    yield _classifications_field("labels")
    yield _classifications_field("predictions")
    yield _field("origin", _TEXT)
    of_claim = [
        *(_field(name, _TEXT) for name in TEXTS),
        *(_field(name, _NUMBER) for name in NUMBERS),
        _field("match_labels", _LIST, subfield=_TEXT),
    ]
    yield _field("claim", _DOCUMENT, of=f"{_LABELS}.Classification", fields=_label(of_claim))
    yield _classifications_field("verdicts", [_field("other_id", _TEXT), _field("other", _TEXT)])


def _classifications_field(name: str, more: Iterable[Json] = ()) -> Json:
    each = _field(
        "classifications", _LIST, subfield=_DOCUMENT, of=f"{_LABELS}.Classification",
        fields=_label(more),
    )  # fmt: skip
    kind = f"{_LABELS}.Classifications"
    return _field(
        name, _DOCUMENT, of=kind, fields=[each, _field("logits", f"{_FIELDS}.VectorField")]
    )


def _label(more: Iterable[Json]) -> list[Json]:
    """Return the fields of a Classification, followed by others."""
    return [
        _field("id", _ID, db_field="_id"),
        _field("tags", _LIST, subfield=_TEXT),
        _field("label", _TEXT),
        _field("confidence", _NUMBER),
        _field("logits", f"{_FIELDS}.VectorField"),
        *more,
    ]


def _field(
    name: str, kind: str, *, of: str | None = None, subfield: str | None = None,
    fields: Iterable[Json] = (), db_field: str | None = None,
) -> Json:  # fmt: skip
    return {
        "name": name, "ftype": kind, "embedded_doc_type": of, "subfield": subfield,
        "fields": list(fields), "db_field": db_field or name, "description": None, "info": None,
        "read_only": False, "created_at": None,
    }  # fmt: skip
