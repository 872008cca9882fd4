"""Clients who add images while the server of `atlas serve` is killed again and again.

    python -m benchmarks.killed_server --run RUN

Every acknowledged image must be known to the next server, with its labels and its files, and none
may be there twice. RUN should be a copy, because the images stay in it. SIGKILL comes at random
moments. Clients repeat what was not acknowledged.
"""

import http.client
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import tyro

from atlas.dataset.spec import AtlasSpec
from benchmarks.serving import Server, form, sent, served_run
from index.added_images import added_beside, content_of, read_added
from index.index_folder import load_index

CLIENTS = 4
WAITS_S = 120.0
LONGEST_S = 4.0  # between an acknowledgement and SIGKILL


@dataclass
class Client:
    """Somebody who adds images, one after the other, until `stop` is set."""

    number: int
    spec: AtlasSpec
    stop: threading.Event
    place: tuple[str, int] = ("", 0)
    acknowledged: dict[str, str] = field(default_factory=dict)  # content by id
    repeated: int = 0

    def work(self) -> None:
        """Add images. One that is not acknowledged is sent again before the next one."""
        count = 0
        while not self.stop.is_set():
            files = self._drawn(count)
            headers, body = form({"labels": "0"}, files)
            content = content_of([one for _, _, one in files])
            while content not in self.acknowledged.values():
                try:
                    self._send(headers, body, content)
                except (OSError, http.client.HTTPException):
                    self.repeated += 1
                    time.sleep(0.05)
                    if self.stop.is_set():
                        return
            count += 1

    def _send(self, headers: dict[str, str], body: bytes, content: str) -> None:
        connection = http.client.HTTPConnection(*self.place, timeout=20)
        try:
            status, answer = sent(connection, "/images", headers, body)
        finally:
            connection.close()
        assert status in (200, 201), (status, answer)
        self.acknowledged[json.loads(answer)["id"]] = content

    def _drawn(self, count: int) -> list[tuple[str, str, bytes]]:
        rng = np.random.default_rng([self.number, count, time.time_ns()])
        planes = rng.integers(0, 256, (len(self.spec.file_channels), 64, 64), dtype=np.uint8)
        return [
            (channel, "x.png", cv2.imencode(".png", plane)[1].tobytes())
            for channel, plane in zip(self.spec.file_channels, planes, strict=True)
        ]


def add_while_killed(
    run: Path, moments: int, seed: int = 0, *, longest_s: float = LONGEST_S
) -> list[Client]:
    """Kill the server at so many random moments while images are added, and return the clients."""
    rng, stop = random.Random(seed), threading.Event()
    spec = load_index(run / "index").spec
    clients = [Client(n, spec, stop) for n in range(CLIENTS)]
    threads = [threading.Thread(target=one.work, daemon=True) for one in clients]
    port = 0
    for moment in range(moments):
        with served_run(run, port=port) as server:
            port = server.place[1]
            for one in clients:
                one.place = server.place
            if moment == 0:
                for thread in threads:
                    thread.start()
            _wait_for_answers(clients)
            time.sleep(rng.uniform(0, longest_s))
    stop.set()
    for thread in threads:
        thread.join(WAITS_S)
    return clients


def _wait_for_answers(clients: list[Client]) -> None:
    before, until = _count(clients), time.monotonic() + WAITS_S
    while _count(clients) <= before:
        assert time.monotonic() < until, "no image was acknowledged"
        time.sleep(0.001)


def _count(clients: list[Client]) -> int:
    return sum(len(one.acknowledged) for one in clients)


@dataclass(frozen=True)
class Kept:
    """What is left after all kills.

    Attributes:
        acknowledged: The number of images that were acknowledged.
        lost: Those of them that are not in the database, or not with their files.
        unknown: Those of them that a new server does not know.
        twice: Contents that are there more than once.
        orphans: Files without a row that a new server has left.
    """

    acknowledged: int
    lost: list[str]
    unknown: list[str]
    twice: list[str]
    orphans: list[str]


def kept_images(run: Path, clients: list[Client]) -> Kept:
    """Start another server, and compare what it has with what was acknowledged."""
    acknowledged = {i: content for one in clients for i, content in one.acknowledged.items()}
    with served_run(run) as server:
        unknown = [i for i in acknowledged if not _knows(server, i)]
    added = read_added(added_beside(run / "index"))
    whole = {
        i: image
        for i, image in added.by_id.items()
        if content_of([file.read_bytes() for file in image.files_in(added.folder)]) == image.content
    }
    lost = [i for i, c in acknowledged.items() if i not in whole or whole[i].content != c]
    contents = Counter(image.content for image in added.by_id.values())
    named = {file.name for image in added.by_id.values() for file in image.files_in(added.folder)}
    files = {path.name for path in (added.folder / "images").iterdir()}
    return Kept(
        acknowledged=len(acknowledged),
        lost=lost,
        unknown=unknown,
        twice=[content for content, count in contents.items() if count > 1],
        orphans=sorted(files - named),
    )


def _knows(server: Server, image_id: str) -> bool:
    connection = http.client.HTTPConnection(*server.place, timeout=60)
    connection.request("GET", f"/images/{quote(image_id)}")
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status == 200 and found["labels"] == [0] and found["added"]


def main(run: Path, moments: int = 30, seed: int = 0) -> None:
    """Kill the server, and print how many images were acknowledged and are there."""
    clients = add_while_killed(run, moments, seed)
    kept = kept_images(run, clients)
    print(
        f"{moments} kills: {kept.acknowledged:,} images were acknowledged and "
        f"{sum(one.repeated for one in clients):,} requests repeated; {len(kept.lost)} images are "
        f"lost, {len(kept.unknown)} unknown to the next server, {len(kept.twice)} there twice, and "
        f"{len(kept.orphans)} files without an image are left"
    )
    assert kept == Kept(kept.acknowledged, [], [], [], [])


if __name__ == "__main__":
    tyro.cli(main)
