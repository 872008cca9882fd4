"""The server of a review: its page, its pictures, and the verdicts that people send."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from atlas.core.errors import UserError
from atlas.core.files import content_hash
from atlas.dataset.verdicts import Decision, Judgement
from atlas.report.pictures import colour_of
from atlas.service.guards import OnlyItsOwnPages
from atlas.service.page_files import add_page
from atlas.workflows.review.groups import GroupToReview
from atlas.workflows.review.pictures import ReviewPictures
from atlas.workflows.review.queue import LabelsToReview, PairToReview
from atlas.workflows.review.verdicts import Place, Review, Said, SaidBefore

PAGE = "review.html"
KEPT_BY_BROWSERS = "private, max-age=31536000, immutable"  # the version is in the address
MOST_ROWS = 1000  # of a request
MOST_LABELS = 1000
LONGEST_ID = 4096  # that of a plain folder is a path

Name = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class SentRow(BaseModel):
    """A row that a browser sends; see `Said`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    name: Name
    version: Annotated[str, Field(max_length=64)]
    reviewer: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,80}$")]
    verdict: Judgement | Decision | None = None
    labels: Annotated[list[int], Field(max_length=MOST_LABELS)] | None = None
    image: Annotated[str, Field(max_length=LONGEST_ID)] | None = None
    other: Annotated[str, Field(max_length=LONGEST_ID)] | None = None


class SentRows(BaseModel):
    """The rows of a request, for the run with this key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    rows: Annotated[list[SentRow], Field(max_length=MOST_ROWS)]


def review_app(review: Review, pictures: ReviewPictures, *, reviewer: str) -> FastAPI:
    """Return the application that serves a review.

    Args:
        review: The queue and its verdicts.
        pictures: The pictures of the queue.
        reviewer: The name that a browser proposes to a person.
    """
    app = FastAPI(openapi_url=None)  # without pages that load scripts of other servers
    app.add_middleware(OnlyItsOwnPages)
    app.add_exception_handler(UserError, _said_in_one_line)
    run = run_key(review)
    add_page(app, PAGE)
    _add_pictures(app, review, pictures)

    @app.get("/api/queue")
    def queue() -> dict[str, Any]:
        return {"run": run, "reviewer": reviewer, **queue_of(review)}

    @app.get("/api/verdicts")
    def verdicts(verdicts: int = 0, corrections: int = 0, choices: int = 0) -> dict[str, Any]:
        seen = (max(0, count) for count in (verdicts, corrections, choices))
        rows, place = review.since(Place(*seen))
        return {"rows": [_row(one) for one in rows], "place": asdict(place)}

    @app.get("/api/certificates")
    def certificates() -> dict[str, Any]:
        found = review.certificates()
        return {
            relation: {**asdict(one), "precision": one.precision, "words": one.in_words()}
            for relation, one in found.items()
        }

    @app.post("/api/verdicts")
    def add(sent: SentRows) -> dict[str, Any]:
        if sent.run != run:
            raise HTTPException(409, "another run is served at this address now; reload the page")
        added = review.add([_said(row) for row in sent.rows])
        return {"saved": added.saved, "refused": added.refused}

    return app


def run_key(review: Review) -> str:
    """Return a text that differs between runs, so that no verdict reaches another one."""
    return content_hash(str(review.queue.run.path.resolve()))[:16]


def queue_of(review: Review) -> dict[str, Any]:
    """Return what a page shows of a queue before it asks for pictures."""
    queue = review.queue
    name_of = {(one.query_id, one.match_id): one.name for one in queue.pairs}
    return {
        "title": queue.spec.name,
        "folder": str(queue.run.path),
        "labels": list(queue.spec.labels),
        "channels": [{"name": name, "colour": colour_of(name)} for name in queue.spec.channels],
        "items": [
            *(_pair(one, review.version(one)) for one in queue.pairs),
            *(_labels(one, review.version(one)) for one in queue.labels),
            *(_group(one, review.version(one)) for one in queue.groups),
        ],
        "samples": {
            relation: [name_of[pair] for pair in pairs if pair in name_of]
            for relation, pairs in review.samples.items()
        },
        "reviewer_error": review.reviewer_error,
    }


def _pair(one: PairToReview, version: str) -> dict[str, Any]:
    return {**asdict(one), "name": one.name, "version": version, "usefulness": one.usefulness}


def _labels(one: LabelsToReview, version: str) -> dict[str, Any]:
    return {
        "kind": "labels",
        "name": one.name,
        "version": version,
        "query_id": one.image_id,
        "before": one.labels,
        "labels": one.suggested,
        "confidence": one.suspicion,
        "reason": one.reason,
        "usefulness": one.usefulness,
    }


def _group(one: GroupToReview, version: str) -> dict[str, Any]:
    return {
        "kind": "group",
        "name": one.name,
        "version": version,
        "query_id": one.ids[0],
        "images": [asdict(copy) for copy in one.copies],
        "policy": one.policy,
        "reason": one.reason,
        "label_sets": one.label_sets,
        "usefulness": one.usefulness,
    }


def _add_pictures(app: FastAPI, review: Review, pictures: ReviewPictures) -> None:
    def picture(content: bytes, media_type: str) -> Response:
        headers = {"Cache-Control": KEPT_BY_BROWSERS}
        return Response(content, media_type=media_type, headers=headers)

    def known(image_id: str) -> str:
        if image_id not in review.queue.key_of:
            raise HTTPException(404, "there is no such image in this review")
        return image_id

    @app.get("/pictures/tile")
    def tile(id: str) -> Response:
        return picture(pictures.tile(known(id)), "image/webp")

    @app.get("/pictures/channel")
    def channel(id: str, channel: Annotated[int, Query(ge=0)]) -> Response:
        if channel >= len(review.queue.spec.channels):
            raise HTTPException(404, "there is no such channel")
        return picture(pictures.channel(known(id), channel), "image/png")

    @app.get("/pictures/registered")
    def registered(name: str) -> dict[str, Any]:
        item = review.queue.items.get(name)
        if not isinstance(item, PairToReview):
            raise HTTPException(404, "there is no such pair in this review")
        return asdict(pictures.registered(item.query_id, item.match_id))


def _said(row: SentRow) -> Said:
    fields = row.model_dump()
    labels = None if row.labels is None else tuple(row.labels)
    return Said(**{**fields, "labels": labels})


def _row(one: SaidBefore) -> Mapping[str, Any]:
    return asdict(one)


def _said_in_one_line(request: Request, error: Exception) -> JSONResponse:
    """Return what the command line would print, as an error that may pass."""
    return JSONResponse({"detail": str(error)}, status_code=503)
