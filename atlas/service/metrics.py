"""What the lookup service counts, for Prometheus."""

import time
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)
OTHER = "other"  # paths that are none of the service, which a client may make up


class Metrics:
    """The metrics of one server.

    Args:
        images: Returns the number of images of the index, and of those that were added.
    """

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, images: Callable[[], tuple[int, int]]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._answers = Counter(
            "atlas_requests", "Answered requests.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "atlas_request_seconds", "Time from the headers of a request to the end of its answer.",
            ("route",), buckets=SECONDS, registry=self._registry,
        )  # fmt: skip
        batches = Histogram(
            "atlas_batch_images", "Images that were embedded together.", buckets=SIZES,
            registry=self._registry,
        )  # fmt: skip
        waiting = Gauge(
            "atlas_requests_in_progress", "Requests that are worked on or wait.",
            registry=self._registry,
        )  # fmt: skip
        known = Gauge("atlas_images", "Known images.", ("source",), registry=self._registry)
        known.labels("index").set_function(lambda: images()[0])
        known.labels("added").set_function(lambda: images()[1])
        self.batch: Callable[[int], None] = batches.observe
        self.in_progress: Callable[[int], None] = waiting.set

    def text(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        return generate_latest(self._registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._answers.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)


class Measured:
    """Middleware that counts answers.

    Args:
        app: The application.
        metrics: The metrics.
        routes: The first parts of the paths that are counted by themselves.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, routes: tuple[str, ...]) -> None:
        self._app, self._metrics, self._routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and count the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            first = scope["path"].split("/")[1]
            route = f"/{first}" if first in self._routes else OTHER
            self._metrics.answered(route, status, time.perf_counter() - began)
