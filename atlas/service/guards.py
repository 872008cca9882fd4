"""What protects a server on this machine from the pages of other servers.

A page of the web can send requests to this machine, and can give its own name to this machine (DNS
rebinding). So a request is answered only if it names this machine, and it changes something only if
a page of this very server sent it.
"""

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
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with status 403 or 421."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = _refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, with_headers)


def _refusal(method: str, headers: Headers) -> PlainTextResponse | None:
    """Return the answer to a request that is refused, or None."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not _is_loopback(hosts[0]):
        text = f"This server answers only to {', '.join(LOOPBACK)}.\n"
        return PlainTextResponse(text, status_code=421)
    if method not in SAFE_METHODS and headers.getlist("origin") != [f"http://{hosts[0]}"]:
        text = "Only pages of this server may change something.\n"
        return PlainTextResponse(text, status_code=403)
    return None


def _is_loopback(host: str) -> bool:
    """Return whether a host, with or without a port, is a name of this machine."""
    return any(
        host == name or (host.startswith(f"{name}:") and host[len(name) + 1 :].isdecimal())
        for name in LOOPBACK
    )
