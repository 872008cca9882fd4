"""Micro-batches: queries of several requests are embedded and searched for together.

A network always receives whole batches, so that the vector of an image does not depend on the
others (see `retrieval.embedding`). One image alone therefore costs as much as a whole batch.

Axes: C channels, H x W pixels.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from atlas.workflows.embed.gallery import Gallery

WAITS_S = 0.003  # for further queries, which is little beside the time of a batch


class FullError(UserError):
    """More queries wait than may wait."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The vector of a query, and its nearest known images.

    Attributes:
        gallery: The known images as they were.
        query: The vector, with one row.
        neighbours: The neighbours, with one row.
    """

    gallery: Gallery
    query: EmbeddingSet
    neighbours: Neighbours


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waiting:
    name: str
    image: NDArray[np.uint8]
    k: int
    found: "Future[Found]" = field(default_factory=Future)


class MicroBatches:
    """A queue of queries, and the threads that answer them.

    Args:
        gallery: Returns the known images as they are now.
        most: The number of queries that may wait.
        measure: Called with the size of each batch.
    """

    def __init__(
        self,
        gallery: Callable[[], Gallery],
        *,
        most: int,
        measure: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._gallery, self._measure = gallery, measure
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(most)
        runner = gallery().opened.embedder.runner
        self._streams = runner.streams
        # A batch for each stream, so that one search, which reads all vectors, serves more queries.
        self._together = runner.batch_size * runner.streams

    def submit(self, name: str, image: NDArray[np.uint8], k: int) -> "Future[Found]":
        """Return the future vector and neighbours of a query.

        Args:
            name: Its id. Images that are not known have a name that is no id.
            image: Its pixels, C x H x W.
            k: The number of neighbours, at least 1.

        Raises:
            FullError: Too many queries wait.
        """
        waiting = _Waiting(name=name, image=image, k=k)
        try:
            self._waiting.put_nowait(waiting)
        except queue.Full as error:
            raise FullError("too many images wait to be embedded; try again") from error
        return waiting.found

    @contextmanager
    def running(self) -> Iterator[None]:
        """Answer queries while the block runs."""
        threads = [
            threading.Thread(target=self._work, name=f"batches {n}", daemon=True)
            for n in range(self._streams)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for _ in threads:
                self._waiting.put(None)
            for thread in threads:
                thread.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first, *self._more()]
            wanted = [one for one in batch if one.found.set_running_or_notify_cancel()]
            if wanted:
                self._measure(len(wanted))
                self._answer(wanted)

    def _more(self) -> list[_Waiting]:
        """Return the queries that join the first one of a batch, after waiting a little."""
        found: list[_Waiting] = []
        until = time.monotonic() + WAITS_S
        while len(found) < self._together - 1:
            try:
                one = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if one is None:
                self._waiting.put(None)  # for the loop of this thread or another one
                break
            found.append(one)
        return found

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            found = _found(self._gallery(), batch)
        except BaseException as error:  # the request that asked says so
            for one in batch:
                one.found.set_exception(error)
            return
        for one, answer in zip(batch, found, strict=True):
            one.found.set_result(answer)


def _found(gallery: Gallery, batch: Sequence[_Waiting]) -> list[Found]:
    # Two requests may ask for the same image, so queries are numbered, and an image that finds
    # itself is left out afterwards.
    numbers = [f"/{n}" for n in range(len(batch))]
    vectors = gallery.embedded(numbers, [one.image for one in batch])
    nearest = gallery.nearest(vectors, max(one.k for one in batch) + 1)
    return [
        Found(
            gallery=gallery,
            query=EmbeddingSet(
                ids=(one.name,),
                vectors_ND=vectors.vectors_ND[n : n + 1],
                provenance=vectors.provenance,
            ),
            neighbours=_others(nearest, n, one),
        )
        for n, one in enumerate(batch)
    ]


def _others(nearest: Neighbours, n: int, query: _Waiting) -> Neighbours:
    """Return the k nearest images of a query without itself."""
    kept = np.flatnonzero(nearest.reference_ids_NK[n] != query.name)[: query.k]
    return Neighbours(
        query_ids=(query.name,),
        reference_ids_NK=nearest.reference_ids_NK[n : n + 1, kept],
        similarity_NK=nearest.similarity_NK[n : n + 1, kept],
    )
