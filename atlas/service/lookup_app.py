"""The application of `atlas serve`: lookups, images that are added, claims and metrics."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse

from atlas.core.errors import MissingStageError, UserError
from atlas.core.files import sweep, temporary_folder
from atlas.dataset.spec import AtlasSpec
from atlas.service.answers import ClaimsAnswer, ImageAnswer, LookupAnswer, finite, of_image
from atlas.service.guards import OnlyItsOwnPages, OnlyWithToken
from atlas.service.limits import Limited
from atlas.service.lookup_service import Asked, LookupService
from atlas.service.metrics import Measured, Metrics
from atlas.service.page_files import add_page
from atlas.service.settings import ServeSettings
from atlas.service.uploads import FORM, IMAGE, Form, received
from atlas.workflows.serve.live_gallery import ConflictError, LiveGallery, UnknownImageError
from atlas.workflows.serve.micro_batches import MicroBatches

HEALTH, METRICS = "/healthz", "/metrics"
ROUTES = ("lookup", "images", "pictures", "claims", "healthz", "metrics", "openapi.json")
PAGE = "lookup.html"
USUAL_K = 10
MOST_CLAIMS = 1000  # of one answer
YES, NO = ("true", "1", "yes"), ("false", "0", "no")
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request is malformed."},
    401: {"description": "The token is missing."},
    403: {"description": "Another page sent the request."},
    408: {"description": "The request took too long to arrive."},
    413: {"description": "The request or the image is too large."},
    415: {"description": "The request is no form."},
    421: {"description": "The request names another server."},
    422: {"description": "A field or an image is not accepted."},
    503: {"description": "The service is busy; see Retry-After."},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such thing."}}
CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "Another image is in the way."}}


@contextmanager
def lookup_app(
    live: LiveGallery, folder: Path, settings: ServeSettings, token: str = ""
) -> Iterator[FastAPI]:
    """Yield the application that serves lookups, which works while the block runs.

    Args:
        live: The known images.
        folder: A path in the run folder; files that were sent lie beside it for a moment.
        settings: What is accepted.
        token: The token that requests must carry, or "" if only this machine is served.
    """
    metrics = Metrics(lambda: _counts(live))
    batches = MicroBatches(lambda: live.current, most=settings.queue, measure=metrics.batch)
    sweep(folder)  # what a killed server has left
    with temporary_folder(folder) as uploads, batches.running():
        service = LookupService(live, batches, settings, uploads)
        yield _app(service, metrics, token)


def _app(service: LookupService, metrics: Metrics, token: str) -> FastAPI:
    spec = service.gallery.index.spec
    app = FastAPI(
        title="atlas serve",
        description=f"Lookups in {spec.name}: which images are known, and what labels follow.",
        docs_url=None,  # these pages load scripts of other servers
        redoc_url=None,
    )
    open_to_all = (HEALTH, METRICS)
    app.add_middleware(
        Limited, settings=service.settings, unlimited=open_to_all, measure=metrics.in_progress
    )
    if token:
        app.add_middleware(OnlyWithToken, token=token, public=(HEALTH,))
    else:
        app.add_middleware(OnlyItsOwnPages, programs=True)
    app.add_middleware(Measured, metrics=metrics, routes=ROUTES)  # the last one is the outermost
    for kind, status in ((ConflictError, 409), (UnknownImageError, 404), (MissingStageError, 404)):
        app.add_exception_handler(kind, partial(_said_in_one_line, status))
    app.add_exception_handler(UserError, partial(_said_in_one_line, 503))
    _add_lookup(app, service, spec)
    _add_images(app, service, spec)
    _add_facts(app, service, metrics)
    if not token:  # which a page could not send
        add_page(app, PAGE)
    return app


def _add_lookup(app: FastAPI, service: LookupService, spec: AtlasSpec) -> None:
    names = ("id", "k", "registration")
    most = service.settings.most_neighbours
    fields = {
        "id": {"type": "string", "description": "an id of the atlas, in place of files"},
        "k": {"type": "integer", "minimum": 1, "maximum": most, "default": USUAL_K},
        "registration": {"type": "boolean", "default": True},
    }

    @app.post(
        "/lookup",
        responses=ERRORS | NOT_FOUND,
        openapi_extra=_body(spec, fields, "An image, or an id."),
    )
    async def lookup(request: Request) -> LookupAnswer:
        """Return the known images that resemble an image, and what is known of it."""
        async with received(request, spec, names) as form:
            image_id = form.fields.get("id")
            if (image_id is None) == (not form.parts):
                raise HTTPException(422, "send either the files of an image, or an id")
            asked = Asked(
                id=image_id,
                k=_whole_number(form, "k", USUAL_K, most),
                registration=_yes_or_no(form, "registration"),
            )
            return await service.lookup(asked, form)


def _add_images(app: FastAPI, service: LookupService, spec: AtlasSpec) -> None:
    fields = {
        "id": {"type": "string", "description": "by default it follows from the content"},
        "labels": {"type": "string", "description": "label numbers, separated by spaces"},
        "identity": {"type": "string", "description": "such as the antibody or the product"},
    }
    body = _body(spec, fields, "An image with its labels.")
    added: dict[int | str, dict[str, Any]] = {
        200: {"description": "The files were there already, with the same id."},
    }

    @app.post(
        "/images",
        status_code=201,
        responses={**ERRORS, **CONFLICT, **added},
        openapi_extra=body,
    )
    async def add(request: Request, response: Response) -> ImageAnswer:
        """Add an image to those that are known. It is on the disk before the answer is sent."""
        async with received(request, spec, tuple(fields)) as form:
            if not form.parts:
                raise HTTPException(422, "send the files of an image")
            image, is_new = await service.add(form)
            response.status_code = 201 if is_new else 200
            return image

    @app.get("/images/{image_id:path}", responses=ERRORS | NOT_FOUND)
    async def image(image_id: str) -> ImageAnswer:
        """Return what is known of a known image."""
        gallery = service.gallery
        if image_id not in gallery:
            raise HTTPException(404, "there is no known image with this id")
        return of_image(gallery, image_id)

    @app.delete("/images/{image_id:path}", status_code=204, responses=ERRORS | NOT_FOUND | CONFLICT)
    async def remove(image_id: str) -> None:
        """Remove an image that was added. Images of the atlas stay."""
        await service.run(partial(service.live.remove, image_id))

    @app.get(
        "/pictures/{image_id:path}",
        responses={**ERRORS, **NOT_FOUND, 200: {"content": {"image/webp": {}}}},
        response_class=Response,
    )
    async def picture(image_id: str) -> Response:
        """Return a small picture of an image of the atlas."""
        content = await service.run(partial(service.picture, image_id))
        return Response(content, media_type="image/webp")


def _add_facts(app: FastAPI, service: LookupService, metrics: Metrics) -> None:
    @app.get("/claims", responses=ERRORS | NOT_FOUND)
    async def claims(
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_CLAIMS)] = 100,
    ) -> ClaimsAnswer:
        """Return the claims about test images, after what people have said."""
        table = (await service.run(lambda: service.live.claims)).table
        rows = table.iloc[offset : offset + limit].to_dict("records")
        plain = [{str(name): finite(value) for name, value in row.items()} for row in rows]
        return ClaimsAnswer(total=len(table), claims=plain)

    @app.get(HEALTH)
    async def healthz() -> dict[str, str]:
        """Return that the service answers."""
        return {"status": "ok"}

    @app.get(METRICS, response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics_text() -> Response:
        """Return the metrics for Prometheus."""
        return Response(metrics.text(), media_type=metrics.media_type)


def _body(spec: AtlasSpec, fields: dict[str, Any], said: str) -> dict[str, Any]:
    """Return the body of a request for the OpenAPI document."""
    file = {"type": "string", "format": "binary"}
    files = dict.fromkeys(dict.fromkeys((IMAGE, *spec.file_channels)), file)
    schema = {"type": "object", "properties": {**files, **fields}, "additionalProperties": False}
    content = {FORM: {"schema": schema}}
    return {"requestBody": {"required": True, "description": said, "content": content}}


def _whole_number(form: Form, name: str, usual: int, most: int) -> int:
    text = form.fields.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise HTTPException(422, f"{name} must be a whole number from 1 to {most}")
    return int(text)


def _yes_or_no(form: Form, name: str) -> bool:
    text = form.fields.get(name, YES[0]).lower()
    if text not in (*YES, *NO):
        raise HTTPException(422, f"{name} must be true or false")
    return text in YES


def _counts(live: LiveGallery) -> tuple[int, int]:
    gallery = live.current
    return len(gallery.index.ids), len(gallery.added.by_id)


def _said_in_one_line(status: int, request: Request, error: Exception) -> JSONResponse:
    """Return what the command line would print."""
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse({"detail": str(error)}, status_code=status, headers=headers)
