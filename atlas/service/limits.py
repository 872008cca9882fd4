"""Limits on requests: how large they may be, how long they may take, and how many there may be."""

import asyncio
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from atlas.service.settings import MIB, ServeSettings

HEADERS_S = 10.0  # the time in which the headers of a request must arrive
RETRY_AFTER = {"Retry-After": "1"}
CLOSING = {"Connection": "close"}  # the rest of a request that is refused is not read


def busy(reason: str) -> HTTPException:
    """Return the error that asks to try again later."""
    return HTTPException(503, reason, headers=RETRY_AFTER)


class Limited:
    """Middleware that limits the size, the time and the number of requests.

    Args:
        app: The application.
        settings: The limits.
        unlimited: The paths that are answered however many requests there are.
        measure: Called with the number of requests whenever it changes.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServeSettings,
        unlimited: tuple[str, ...],
        measure: Callable[[int], None],
    ) -> None:
        self._app, self._settings, self._unlimited = app, settings, unlimited
        self._count, self._measure = 0, measure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with status 408, 413 or 503."""
        if scope["type"] != "http" or scope["path"] in self._unlimited:
            await self._app(scope, receive, send)
            return
        if self._count >= self._settings.queue:
            text = {"detail": "too many requests are being worked on; try again"}
            answer = JSONResponse(text, status_code=503, headers=RETRY_AFTER | CLOSING)
            await answer(scope, receive, send)
            return
        self._change(1)
        try:
            await self._app(scope, self._limited(scope, receive), send)
        finally:
            self._change(-1)

    def _change(self, by: int) -> None:
        self._count += by
        self._measure(self._count)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Return a function that receives a body until it is too large or too slow."""
        largest = self._settings.upload_mib * MIB
        until = time.monotonic() + self._settings.upload_s
        stated = Headers(scope=scope).get("content-length", "0")
        received, ended = 0, False

        async def receiving() -> Message:
            nonlocal received, ended
            if ended:  # what follows is only that the client has gone
                return await receive()
            if not stated.isdecimal() or int(stated) > largest:
                raise self._too_large()
            try:
                left = max(0.0, until - time.monotonic())
                message = await asyncio.wait_for(receive(), left)
            except TimeoutError as error:
                text = f"the request took longer than {self._settings.upload_s:g} s to arrive"
                raise HTTPException(408, text, headers=CLOSING) from error
            received += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if received > largest:
                raise self._too_large()
            return message

        return receiving

    def _too_large(self) -> HTTPException:
        text = f"a request has at most {self._settings.upload_mib} MiB"
        return HTTPException(413, text, headers=CLOSING)


class ImpatientProtocol(H11Protocol):
    """The protocol of uvicorn, which closes connections whose headers take too long to arrive."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on with a request, or begin to wait for the rest of its headers."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._patience is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._patience = self.loop.call_later(HEADERS_S, self._end)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _end(self) -> None:
        self._patience = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
