"""The time that each stage of a command takes. Nothing is recorded until you ask for it.

Code marks its work in any thread by `with stage("decoding", items=1): ...`, and `recorded()`
collects the stages while its block runs. Stages are not nested. Times are wall-clock seconds.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """A piece of work: its stage, when it began and ended, and how many items it processed."""

    stage: str
    start: float
    end: float
    items: int


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """The time that a stage takes.

    Attributes:
        stage: The name of the stage.
        items: The number of items that were processed.
        busy_s: The time of all threads together.
        wall_s: The time during which at least one thread worked on the stage.
        alone_s: The part of `wall_s` during which no other stage was running.
    """

    stage: str
    items: int
    busy_s: float
    wall_s: float
    alone_s: float


class Recorder:
    """Collect the spans of all threads. Appending to a list is thread-safe."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.spans: list[Span] = []

    @contextmanager
    def stage(self, name: str, items: int) -> Iterator[None]:
        """Record the block as work of the stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spans.append(Span(name, start, time.perf_counter(), items))


# There is one recorder for the process, because the threads of libraries inherit no context. Only
# `recorded` sets it.
_recorder: Recorder | None = None
_NOTHING = nullcontext()


def stage(name: str, *, items: int = 0) -> AbstractContextManager[None]:
    """Return a context manager that marks its block as work of a stage on `items` items."""
    return _NOTHING if _recorder is None else _recorder.stage(name, items)


@contextmanager
def recorded() -> Iterator[Recorder]:
    """Yield a recorder that collects the stages of all threads while the block runs."""
    global _recorder
    before, _recorder = _recorder, Recorder()
    try:
        yield _recorder
    finally:
        _recorder = before


def costs(spans: Sequence[Span]) -> list[StageCost]:
    """Return the cost of each stage, in the order in which the stages began."""
    by_stage: defaultdict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start):
        by_stage[span.stage].append(span)
    wall_s, alone_s = _under_way(spans)
    return [
        StageCost(
            stage=name,
            items=sum(span.items for span in own),
            busy_s=sum(span.end - span.start for span in own),
            wall_s=wall_s[name],
            alone_s=alone_s[name],
        )
        for name, own in by_stage.items()
    ]


def covered_s(spans: Sequence[Span]) -> float:
    """Return the seconds during which at least one stage was running."""
    return _under_way([span._replace(stage="any") for span in spans])[0]["any"]


def _under_way(spans: Sequence[Span]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the seconds during which each stage was running, and during which it ran alone."""
    changes = sorted(
        [(span.start, 1, span.stage) for span in spans]
        + [(span.end, -1, span.stage) for span in spans]
    )
    running: defaultdict[str, int] = defaultdict(int)
    wall_s: defaultdict[str, float] = defaultdict(float)
    alone_s: defaultdict[str, float] = defaultdict(float)
    before = 0.0
    for now, step, name in changes:
        active = [stage for stage, count in running.items() if count]
        for one in active:
            wall_s[one] += now - before
        if len(active) == 1:
            alone_s[active[0]] += now - before
        running[name] += step
        before = now
    return wall_s, alone_s
