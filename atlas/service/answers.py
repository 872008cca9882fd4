"""What the lookup service answers, as JSON and in its OpenAPI document."""

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from atlas.workflows.embed.gallery import Gallery, Judgement
from atlas.workflows.embed.verdicts import Compared
from atlas.workflows.serve.micro_batches import Found
from index.added_images import AddedImage
from index.copies.geometry import geometry
from index.copies.registration import Registration


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Alignment(_Answer):
    """How the query lies over a known image; sizes are shares of the sides."""

    rotation_degrees: float
    mirrored: bool
    scale: float
    overlap: float
    crop: tuple[float, float, float, float] = Field(description="left, top, right, bottom")
    negative: bool
    channel_order: list[int]


class ComparedPixels(_Answer):
    """The comparison of the query with a known image by their pixels."""

    score: float = Field(description="registration score, 0 to 300; -1 if an image is blank")
    agreeing_blocks: int
    comparable_blocks: int
    same_pixels: bool
    alignment: Alignment | None = Field(description="null if nothing agrees")


class Neighbour(_Answer):
    """A known image that resembles the query."""

    rank: int
    id: str
    similarity: float
    labels: list[int]
    label_names: list[str]
    identity: str
    registration: ComparedPixels | None = Field(description="null if none was asked for")


class Verdict(_Answer):
    """What is known of the query."""

    relation: str = Field(description="same_image, sibling, or empty")
    claimed: bool = Field(description="false if the relation is only probable")
    matches: list[str]
    confidence: float | None
    labels: list[int] | None = Field(description="the labels that follow from the matches")
    label_names: list[str] | None
    reason: str


class LookupAnswer(_Answer):
    """The answer to a lookup."""

    id: str | None = Field(description="the id that was asked for; null for an image that was sent")
    neighbours: list[Neighbour]
    verdict: Verdict | None = Field(description="null if no registration was asked for")


class ImageAnswer(_Answer):
    """A known image."""

    id: str
    labels: list[int]
    label_names: list[str]
    identity: str
    added: bool = Field(description="whether it was added since the index was built")


class ClaimsAnswer(_Answer):
    """Claims of the run as they stand, see the columns of leaks.csv."""

    total: int
    claims: list[dict[str, Any]]


def of_found(found: Found, image_id: str | None) -> LookupAnswer:
    """Return the neighbours of a query that was not compared by pixels."""
    pairs = zip(
        found.neighbours.reference_ids_NK[0], found.neighbours.similarity_NK[0], strict=True
    )
    neighbours = [
        _neighbour(found.gallery, rank, str(match), float(cosine), None)
        for rank, (match, cosine) in enumerate(pairs, start=1)
        if match
    ]
    return LookupAnswer(id=image_id, neighbours=neighbours, verdict=None)


def of_judgement(gallery: Gallery, judgement: Judgement, image_id: str | None) -> LookupAnswer:
    """Return the neighbours of a query, and what is known of it."""
    pairs = zip(judgement.compared, judgement.registrations, strict=True)
    neighbours = [
        _neighbour(gallery, rank, one.id, one.similarity, _pixels(one, registration))
        for rank, (one, registration) in enumerate(pairs, start=1)
    ]
    verdict, labels = judgement.verdict, judgement.labels
    said = Verdict(
        relation=verdict.relation,
        claimed=verdict.claimed,
        matches=list(verdict.matches),
        confidence=verdict.confidence,
        labels=None if labels is None else list(labels),
        label_names=None if labels is None else _names(gallery, labels),
        reason=f"The image {verdict.words}.",
    )
    return LookupAnswer(id=image_id, neighbours=neighbours, verdict=said)


def of_image(gallery: Gallery, image_id: str) -> ImageAnswer:
    """Return what is known of a known image."""
    labels = gallery.labels_of(image_id)
    return ImageAnswer(
        id=image_id,
        labels=list(labels),
        label_names=_names(gallery, labels),
        identity=gallery.identity_of(image_id),
        added=image_id in gallery.added.by_id,
    )


def of_added(image: AddedImage, gallery: Gallery) -> ImageAnswer:
    """Return an image that has just been added."""
    return ImageAnswer(
        id=image.id,
        labels=list(image.labels),
        label_names=_names(gallery, image.labels),
        identity=image.identity,
        added=True,
    )


def finite(value: Any) -> Any:
    """Return a value of a table as JSON has it: a number that is none becomes None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _neighbour(
    gallery: Gallery, rank: int, match: str, similarity: float, pixels: ComparedPixels | None
) -> Neighbour:
    labels = gallery.labels_of(match)
    return Neighbour(
        rank=rank,
        id=match,
        similarity=similarity,
        labels=list(labels),
        label_names=_names(gallery, labels),
        identity=gallery.identity_of(match),
        registration=pixels,
    )


def _pixels(one: Compared, registration: Registration) -> ComparedPixels:
    return ComparedPixels(
        score=one.score,
        agreeing_blocks=registration.agreeing,
        comparable_blocks=registration.comparable,
        same_pixels=one.same_pixels,
        alignment=_alignment(registration) if registration.score > 0 else None,
    )


def _alignment(registration: Registration) -> Alignment:
    found = geometry(registration)
    return Alignment(
        rotation_degrees=found.rotation_degrees,
        mirrored=found.mirrored,
        scale=found.scale,
        overlap=found.overlap,
        crop=found.crop,
        negative=found.negative,
        channel_order=list(found.channels_E),
    )


def _names(gallery: Gallery, labels: tuple[int, ...]) -> list[str]:
    return [gallery.index.spec.labels[n] for n in labels]
