"""Hostile uploads to `atlas serve`: bombs, damage, path tricks, false lengths and slow bodies.

    python -m benchmarks.hostile_uploads --run RUN

After each of them the server must run, and at the end it must still answer. It may write nothing
but RUN/added: the run, the atlas, and a folder of its own that holds its home and temporary files
are compared before and after. RUN should be a copy.
"""

import http.client
import json
import random
import socket
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro

from atlas.dataset.manifest import read_manifest
from atlas.dataset.spec import AtlasSpec
from benchmarks.reliability.hostile_images import IMAGE_FILES
from benchmarks.serving import Server, form, served_run
from index.added_images import ADDED_FOLDER
from index.index_folder import load_index

UPLOAD_S = 3.0  # the time that the server under test gives a request
WAITS_S = 60.0
FINE = range(200, 500)
BUSY = 503
TRICKS = (
    "../../../etc/passwd", "/etc/passwd", "..\\..\\evil.png", "a/../../b.png", "~/x.png", ".hidden",
    "x\0.png", "con.png", "a" * 5000 + ".png", "\u202egnp.exe", "%2e%2e%2fx.png", "*.png", "",
    "x.png\r\nX-Evil: 1", "file:///etc/passwd", "http://localhost/x.png", "=cmd|x!A0", "-rf",
)  # fmt: skip

Answer = tuple[int, bytes]


@dataclass(frozen=True)
class Case:
    """An upload, and how it is sent."""

    name: str
    send: Callable[[Server], Answer]


@dataclass(frozen=True)
class Sample:
    """A good image of the atlas under test, as the files of its channels."""

    spec: AtlasSpec
    files: tuple[bytes, ...]

    def parts(self, first: bytes | None = None, filename: str = "x.png") -> list:
        """Return the files for a form, perhaps with another one in the first place."""
        contents = [first, *self.files[1:]] if first is not None else list(self.files)
        return [
            (c, filename, content)
            for c, content in zip(self.spec.file_channels, contents, strict=True)
        ]


def cases(sample: Sample, rng: random.Random) -> Iterator[Case]:
    """Yield all uploads."""
    for path in ("/lookup", "/images"):
        labels = {"labels": "0"} if path == "/images" else {}
        for name, content in _contents(sample, rng):
            yield _post(f"{path}: {name}", path, labels, sample.parts(content))
        for trick in TRICKS:
            files = sample.parts(filename=trick.replace('"', "")[:4000])
            yield _post(f"{path}: file name {trick[:30]!r}", path, labels, files)
            yield _post(f"{path}: id {trick[:30]!r}", path, {**labels, "id": trick},
                        [] if path == "/lookup" else sample.parts())  # fmt: skip
            named = [(trick[:100].replace("\r\n", ""), "x.png", sample.files[0])]
            yield _post(f"{path}: field {trick[:30]!r}", path, labels, named)
    yield from _odd_forms(sample)
    yield from _odd_requests()


def _contents(sample: Sample, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield files that are no sound images, and why."""
    with tempfile.TemporaryDirectory() as folder:
        for name, write in IMAGE_FILES.items():
            file = Path(folder) / "x.png"
            write(file)
            if file.is_file() and not file.is_symlink():
                yield name, file.read_bytes()
            if file.is_dir():
                file.rmdir()
            else:
                file.unlink()
    good = sample.files[0]
    for share in (0.1, 0.5, 0.9, 0.99):
        yield f"truncated at {share:.0%}", good[: int(len(good) * share)]
    for n in range(8):
        damaged = bytearray(good)
        for _ in range(20):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        yield f"damaged {n}", bytes(damaged)
    for mark in (b"\xff\xd8\xff", b"II*\0", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBP"):
        yield f"mislabelled as {mark!r}", mark + good
    yield "zeros", bytes(1 << 20)
    yield "gzip bomb", zlib.compress(bytes(50 << 20), 9)


def _odd_forms(sample: Sample) -> Iterator[Case]:
    first = sample.parts()[:1]
    good = sample.parts()
    yield _post("one channel only", "/lookup", {}, first)
    yield _post("a channel twice", "/lookup", {}, [*first, *first])
    yield _post("100 files", "/lookup", {}, [("image", f"{n}.png", b"x") for n in range(100)])
    yield _post("100 fields", "/lookup", {f"f{n}": "x" for n in range(100)})
    yield _post("files and an id", "/lookup", {"id": "x"}, good)
    yield _post("a field of 2 MiB", "/lookup", {"id": "x" * (2 << 20)})
    yield _post("70 MiB", "/lookup", {}, sample.parts(bytes(70 << 20)))
    for k in ("0", "-1", "1e9", "99999999999", "ten", "", "\u0661", "1.5", "NaN"):
        yield _post(f"k {k!r}", "/lookup", {"k": k}, good)
    for labels in ("", "999", "-1", "1 " * 2000, "one", "0;DROP TABLE images", "\u0660"):
        yield _post(f"labels {labels[:20]!r}", "/images", {"labels": labels}, good)
    for identity in ("x" * 4000, "a\0b", "a\nb", "=1+1", "\ud7ff\ue000"):
        fields = {"labels": "0", "identity": identity}
        yield _post(f"identity {identity[:10]!r}", "/images", fields, good)


def _odd_requests() -> Iterator[Case]:
    head = "POST /lookup HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    kind = "Content-Type: multipart/form-data; boundary=x\r\n"
    raw = {
        "length of 10 TB": f"{head}{kind}Content-Length: 10000000000000\r\n\r\n",
        "negative length": f"{head}{kind}Content-Length: -5\r\n\r\n",
        "two lengths": f"{head}{kind}Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
        "body that never comes": f"{head}{kind}Content-Length: 1000\r\n\r\n",
        "chunks that never end": f"{head}{kind}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "chunk of 2^64": f"{head}{kind}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "headers that never end": head,
        "header of 1 MiB": f"{head}X: {'x' * (1 << 20)}\r\n\r\n",
        "no HTTP": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "no boundary": f"{head}Content-Type: multipart/form-data\r\nContent-Length: 1\r\n\r\nx",
        "odd boundary": f"{head}Content-Type: multipart/form-data; boundary=\xff\xfe\r\n"
                        "Content-Length: 1\r\n\r\nx",
        "part without a name": f"{head}{kind}Content-Length: 24\r\n\r\n"
                               "--x\r\n\r\nhello\r\n--x--\r\n",
        "part that breaks off": f"{head}{kind}Content-Length: 10\r\n\r\n--x\r\nConte",
        "unknown charset": f"{head}Content-Type: multipart/form-data; boundary=x; charset=evil\r\n"
                           "Content-Length: 8\r\n\r\n--x--\r\n\r\n",
        "json": f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
        "gzip": f"{head}{kind}Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
        "other host": "GET /images/x HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "no host": "GET /images/x HTTP/1.1\r\n\r\n",
        "path up": "GET /images/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "path up, escaped": "GET /pictures/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1\r\n"
                            "Host: localhost\r\n\r\n",
        "delete up": "DELETE /images/..%2f..%2findex HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "NUL in a path": "GET /pictures/a%00b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "long path": f"GET /pictures/{'x' * 20000} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "websocket": "GET /lookup HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\n\r\n",
    }  # fmt: skip
    for name, text in raw.items():
        yield Case(name, partial(_raw, text=text.encode("latin-1")))
    slow = f"{head}{kind}Content-Length: 100000\r\n\r\n".encode()
    yield Case("a byte at a time", partial(_slow, text=slow))


def _post(name: str, path: str, fields: dict[str, str], files: Sequence = ()) -> Case:
    headers, body = form(fields, files)

    def send(server: Server) -> Answer:
        connection = http.client.HTTPConnection(*server.place, timeout=WAITS_S)
        try:
            with suppress(OSError):  # the server may answer before it has read everything
                connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b"closed"
        finally:
            connection.close()

    return Case(name, send)


def _raw(server: Server, text: bytes) -> Answer:
    with socket.create_connection(server.place, timeout=WAITS_S) as connection:
        try:
            connection.sendall(text)
            return _status(connection.recv(65536))
        except OSError:
            return 0, b"closed"


def _slow(server: Server, text: bytes) -> Answer:
    with socket.create_connection(server.place, timeout=0.2) as connection:
        connection.sendall(text)
        until = time.monotonic() + WAITS_S
        while time.monotonic() < until:
            try:
                connection.sendall(b"-")
                return _status(connection.recv(65536))
            except TimeoutError:
                continue
            except OSError:
                return 0, b"closed"
    return -1, b"never answered"


def _status(answer: bytes) -> Answer:
    words = answer.split(b" ", 2)
    return (int(words[1]), answer) if len(words) > 1 and words[1].isdigit() else (0, b"closed")


def _good_answer(server: Server, sample: Sample) -> object:
    status, content = _post("good", "/lookup", {"k": "3"}, sample.parts()).send(server)
    assert status == 200, (status, content)
    return json.loads(content)


def _files_below(folders: Sequence[Path], without: Sequence[Path]) -> dict[str, tuple[int, int]]:
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not any(path.is_relative_to(other) for other in without):
                found[str(path)] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def main(run: Path, seed: int = 0, show: bool = False) -> None:
    """Send all uploads, and print how they were answered."""
    index = load_index(run / "index")
    row = read_manifest(index.data, ("test",)).rows[0]
    sample = Sample(index.spec, tuple(file.read_bytes() for file in row.files))
    kept = run.resolve() / ADDED_FOLDER
    answers: Counter[int] = Counter()
    wrong: list[str] = []
    with (
        tempfile.TemporaryDirectory() as own,
        served_run(run, "--upload-s", str(UPLOAD_S), folder=Path(own)) as server,
    ):
        watched = [run.resolve(), index.data, Path(own)]
        expected, before = _good_answer(server, sample), _files_below(watched, [kept])
        first_mib = server.memory_mib()
        for case in cases(sample, random.Random(seed)):
            status, content = case.send(server)
            answers[status] += 1
            if show:
                print(status, case.name, content[:100])
            if status not in FINE and status not in (0, BUSY):
                wrong.append(f"{case.name}: {status} {content[:300]!r}")
            if server.process.poll() is not None:
                raise SystemExit(f"the server ended after: {case.name}")
        again, after = _good_answer(server, sample), _files_below(watched, [kept])
        memory = f"{first_mib:.0f} MiB before and {server.memory_mib():.0f} MiB after"
    changed = [p for p in sorted(set(before) | set(after)) if before.get(p) != after.get(p)]
    neighbours = [one["neighbours"][0]["id"] for one in (expected, again)]  # type: ignore[index]
    print(
        f"{sum(answers.values())} uploads, by status (0: closed): {dict(sorted(answers.items()))}"
    )
    print(f"memory: {memory}; the best neighbour of a good image: {' and '.join(neighbours)}")
    print(f"{len(wrong)} were answered with an error of the server, {len(changed)} files changed")
    print(*wrong, *changed, sep="\n")
    assert not wrong
    assert not changed


if __name__ == "__main__":
    tyro.cli(main)
