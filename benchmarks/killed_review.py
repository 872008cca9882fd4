"""Reviewers who give verdicts while the server of `atlas review` is killed again and again.

    python -m benchmarks.killed_review --run RUN --data DATA

All acknowledged verdicts must be in RUN/verdicts.db, and none twice. RUN should be a copy, because
the verdicts stay in it.

The server runs in a process of its own, which SIGKILL ends. Reviewers repeat what was not
acknowledged, with the same token, as the page does.
"""

import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import tyro

from atlas.dataset.verdicts import VERDICTS_NAME, new_token, read_verdicts
from atlas.service.review_app import review_app
from atlas.service.serving import address_of, listening, served
from atlas.workflows.review.pictures import ReviewPictures
from atlas.workflows.review.queue import read_queue
from atlas.workflows.review.verdicts import Review

REVIEWERS = 3
WAITS_S = 30.0
SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["atlas.service.review_app"])  # so that a server starts at once


def _serve(run: Path, data: Path, port: int, ready: Connection) -> None:
    queue = read_queue(run, data)
    app = review_app(Review(queue), ReviewPictures(queue), reviewer="Ann")
    with listening(port) as listener, served(app, listener) as thread:
        ready.send(address_of(listener))
        thread.join()


@contextmanager
def killed_at_the_end(run: Path, data: Path, port: int = 0) -> Iterator[str]:
    """Yield the address of a server, and kill it."""
    ready, sender = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_serve, args=(run, data, port, sender), daemon=True)
    process.start()
    try:
        assert ready.poll(WAITS_S), "the server did not start"
        yield ready.recv()
    finally:
        process.kill()
        process.join()


@dataclass
class Reviewer:
    """Somebody who gives verdicts, one after the other, until `stop` is set."""

    name: str
    stop: threading.Event
    address: str = ""
    sent: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)

    def work(self) -> None:
        """Give verdicts. One that is not acknowledged is sent again before the next one."""
        row: dict[str, str] | None = None
        with httpx.Client(timeout=5) as client:
            while not self.stop.is_set() or row:
                try:
                    queue = client.get(f"{self.address}api/queue").json()
                    while not self.stop.is_set() or row:
                        row = row or self._next(queue["items"])
                        self._send(client, queue["run"], row)
                        row = None
                except httpx.HTTPError:
                    time.sleep(0.01)

    def _next(self, items: list[dict[str, str]]) -> dict[str, str]:
        pairs = [one for one in items if one["kind"] != "labels"]
        item = pairs[len(self.sent) % len(pairs)]
        self.sent.append(new_token())
        return {
            "token": self.sent[-1], "name": item["name"], "version": item["version"],
            "reviewer": self.name, "verdict": "same",
        }  # fmt: skip

    def _send(self, client: httpx.Client, run: str, row: dict[str, str]) -> None:
        origin = {"Origin": self.address.rstrip("/")}
        body = {"run": run, "rows": [row]}
        answer = client.post(f"{self.address}api/verdicts", json=body, headers=origin)
        answer.raise_for_status()
        self.acknowledged += answer.json()["saved"]


def review_while_killed(run: Path, data: Path, moments: int) -> list[Reviewer]:
    """Kill the server at so many moments while verdicts are given, and return the reviewers.

    Each server is killed a little later after its first verdicts than the one before.
    """
    stop = threading.Event()
    people = [Reviewer(f"reviewer {n}", stop) for n in range(REVIEWERS)]
    threads = [threading.Thread(target=one.work, daemon=True) for one in people]
    port = 0
    for moment in range(moments + 1):
        with killed_at_the_end(run, data, port) as address:
            port = int(address.rstrip("/").rsplit(":", 1)[1])
            for one in people:
                one.address = address
            if moment == 0:
                for thread in threads:
                    thread.start()
            _wait_for_verdicts(people)
            time.sleep(0.003 * moment)
            if moment == moments:
                stop.set()
                for thread in threads:
                    thread.join(WAITS_S)
    return people


def _wait_for_verdicts(people: list[Reviewer]) -> None:
    before, until = sum(len(one.acknowledged) for one in people), time.monotonic() + WAITS_S
    while sum(len(one.acknowledged) for one in people) < before + REVIEWERS:
        assert time.monotonic() < until, "no verdict was acknowledged"
        time.sleep(0.001)


def main(run: Path, data: Path, moments: int = 30) -> None:
    """Kill the server, and print how many verdicts were acknowledged and are in the file."""
    people = review_while_killed(run, data, moments)
    kept = Counter(one.token for one in read_verdicts(run / VERDICTS_NAME).verdicts)
    acknowledged = [token for one in people for token in one.acknowledged]
    lost = set(acknowledged) - set(kept)
    twice = [token for token, count in kept.items() if count > 1]
    print(
        f"{moments} kills: {len(acknowledged):,} verdicts were acknowledged, {len(lost)} of them "
        f"are lost, and {len(twice)} are in the file twice"
    )


if __name__ == "__main__":
    tyro.cli(main)
