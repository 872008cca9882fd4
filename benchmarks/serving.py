"""A server of `atlas serve` in a process of its own, for programs that try it."""

import http.client
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

PROJECT = Path(__file__).resolve().parents[1]
STARTS_S = 120.0


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    address: str
    started_s: float

    @property
    def place(self) -> tuple[str, int]:
        """The host and port."""
        parts = urlsplit(self.address)
        return str(parts.hostname), int(parts.port or 0)

    def memory_mib(self) -> float:
        """Return the memory of the process."""
        with open(f"/proc/{self.process.pid}/status") as status:
            line = next(line for line in status if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


@contextmanager
def served_run(
    run: Path, *options: str, port: int = 0, folder: Path | None = None
) -> Iterator[Server]:
    """Yield a server, which is killed at the end of the block.

    A folder, if it is given, is its working folder, its home, and that of its temporary files.
    """
    own = {"HOME": str(folder), "TMPDIR": str(folder)} if folder else {}
    words = [sys.executable, "-m", "atlas.cli", "serve", "--run", str(run.resolve())]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*words, "--port", str(port), *options], cwd=folder, text=True, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **own},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        assert "lookups are answered at" in lines[1], f"the server did not start: {lines}"
        address = lines[1].split(" at ")[1].split()[0]
        yield Server(process, address, time.perf_counter() - began)
    finally:
        process.kill()
        process.communicate()


def form(
    fields: Mapping[str, str], files: Sequence[tuple[str, str, bytes]] = ()
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a form; files are names, file names and contents."""
    mark = secrets.token_hex(16)
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, filename, content in files:
        head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"'
        parts += [f"{head}\r\n\r\n".encode(), content, b"\r\n"]
    body = b"".join([*parts, f"--{mark}--\r\n".encode()])
    return {"Content-Type": f"multipart/form-data; boundary={mark}"}, body


def sent(
    connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    """Return the status and the content of the answer to a POST."""
    connection.request("POST", path, body, dict(headers))
    answer = connection.getresponse()
    return answer.status, answer.read()
