"""Settings of the lookup service. Standard library only."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from atlas.core.errors import UserError, refuse

TOKEN_VARIABLE = "ATLAS_TOKEN"
SHORTEST_TOKEN = 16
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
MEGA, MIB = 1_000_000, 1 << 20


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What the service accepts.

    Args:
        host: Address to listen on. Any other than this machine's own needs a token.
        token_file: File with the token that every request must then carry, at least 16 characters;
            the environment variable ATLAS_TOKEN may hold it instead.
        upload_mib: Largest request, in MiB.
        megapixels: Largest image, in millions of pixels.
        queue: Number of requests that are worked on or wait; further ones are answered with 503.
        upload_s: Seconds that a request may take to arrive.
        answer_s: Seconds after which a request that still waits is answered with 503.
        most_neighbours: Largest k.
    """

    host: str = "127.0.0.1"
    token_file: Path | None = None
    upload_mib: int = 64
    megapixels: int = 50
    queue: int = 64
    upload_s: float = 30.0
    answer_s: float = 60.0
    most_neighbours: int = 100

    def __post_init__(self) -> None:
        least = {
            "upload_mib": 1, "megapixels": 1, "queue": 1, "upload_s": 0.1, "answer_s": 0.1,
            "most_neighbours": 1,
        }  # fmt: skip
        refuse(
            f"{name} must be at least {low} (got {getattr(self, name)})"
            for name, low in least.items()
            if not getattr(self, name) >= low
        )

    @property
    def is_private(self) -> bool:
        """Whether only this machine reaches the service."""
        return self.host in LOOPBACK_HOSTS


def token_of(settings: ServeSettings) -> str:
    """Return the token that requests must carry, or "" if none was given.

    Raises:
        UserError: The token is too short or cannot be read, or the address needs one.
    """
    token, where = os.environ.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
    if settings.token_file is not None:
        token, where = _token_in(settings.token_file), str(settings.token_file)
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise UserError(
            f"{where}: a token has at least {SHORTEST_TOKEN} printable ASCII characters; "
            "openssl rand -hex 32 makes one"
        )
    if not token and (settings.token_file is not None or not settings.is_private):
        raise UserError(
            f"--host {settings.host} can be reached by others, so requests must carry a token; "
            f"give a --token-file or set {TOKEN_VARIABLE}"
            if settings.token_file is None
            else f"{where} is empty; write a token into it"
        )
    return token


def _token_in(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not a text"
        raise UserError(f"--token-file {path} cannot be read ({why})") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(f"--token-file {path} can be read by others; run  chmod 600 {path}")
    return token
