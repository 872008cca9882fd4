"""What protects a server on this machine from the pages of other servers.

A page of the web can send requests to this machine, and can give its own name to this machine (DNS
rebinding). So a request is answered only if it names this machine, and it changes something only if
a page of this very server sent it. Programs may use the lookup service, too: browsers say which
page sends a request, and programs say nothing. If requests must carry a token, which no browser
adds by itself, these checks are not needed.
"""

import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A tunnel, such as that of ssh, may lead from another port to this server, so any port is right.
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
SAFE_METHODS = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class OnlyItsOwnPages:
    """Middleware that refuses requests of other pages, and adds headers to every answer.

    Args:
        app: The application.
        programs: Whether programs may change something, too.
    """

    def __init__(self, app: ASGIApp, *, programs: bool = False) -> None:
        self._app, self._programs = app, programs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with status 403 or 421."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, with_headers(send))

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        """Return the answer to a request that is refused, or None."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not _is_loopback(hosts[0]):
            text = f"This server answers only to {', '.join(LOOPBACK)}.\n"
            return PlainTextResponse(text, status_code=421)
        if method in SAFE_METHODS or headers.getlist("origin") == [f"http://{hosts[0]}"]:
            return None
        if self._programs and not headers.getlist("origin") and not _is_of_other_page(headers):
            return None
        text = "Only pages of this server may change something.\n"
        return PlainTextResponse(text, status_code=403)


class OnlyWithToken:
    """Middleware that refuses requests without a token, and adds headers to every answer.

    Args:
        app: The application.
        token: The token.
        public: The paths that need no token.
    """

    def __init__(self, app: ASGIApp, *, token: str, public: tuple[str, ...] = ()) -> None:
        self._app, self._token, self._public = app, f"Bearer {token}".encode(), public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with status 401."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("authorization", "").encode(errors="replace")
        # The comparison takes equally long wherever the first difference is.
        known = hmac.compare_digest(given, self._token) or scope["path"] in self._public
        refusal = PlainTextResponse(
            "Send the token in the header  Authorization: Bearer TOKEN.\n",
            status_code=401,
            headers={"WWW-Authenticate": "Bearer", "Connection": "close"},
        )
        await (self._app if known else refusal)(scope, receive, with_headers(send))


def with_headers(send: Send) -> Send:
    """Return a function that sends an answer with HEADERS."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending


def _is_of_other_page(headers: Headers) -> bool:
    """Return whether a browser says that another page, or a link elsewhere, led to a request."""
    return headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def _is_loopback(host: str) -> bool:
    """Return whether a host, with or without a port, is a name of this machine."""
    return any(
        host == name or (host.startswith(f"{name}:") and host[len(name) + 1 :].isdecimal())
        for name in LOOPBACK
    )
