"""What each stage of a command takes. Nothing is recorded, and nothing lost, unless one asks.

Work says `with stage("decoding", items=1): ...`, in whatever thread; `recorded()` gathers what is
said while it lasts. Stages do not nest. Seconds are those of a clock on the wall.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """A piece of work: of which stage, from when to when, and how many items were done."""

    stage: str
    start: float
    end: float
    items: int


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """busy_s: of all threads together. wall_s: while any thread was at it. alone_s: the part of
    that while no other stage was under way, which is what others waited for."""

    stage: str
    items: int
    busy_s: float
    wall_s: float
    alone_s: float


class Recorder:
    """Gathers spans of any thread: a list's append is one step of the interpreter."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.spans: list[Span] = []

    @contextmanager
    def stage(self, name: str, items: int) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spans.append(Span(name, start, time.perf_counter(), items))


# One for the process, as the threads of a library inherit nothing; set by `recorded` alone.
_recorder: Recorder | None = None
_NOTHING = nullcontext()


def stage(name: str, *, items: int = 0) -> AbstractContextManager[None]:
    """Around a piece of work of that stage, which is done with so many items."""
    return _NOTHING if _recorder is None else _recorder.stage(name, items)


@contextmanager
def recorded() -> Iterator[Recorder]:
    """Gathers the stages of all threads until it ends."""
    global _recorder
    before, _recorder = _recorder, Recorder()
    try:
        yield _recorder
    finally:
        _recorder = before


def costs(spans: Sequence[Span]) -> list[StageCost]:
    """Of each stage, in the order in which they began."""
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
    """Seconds while any stage was under way."""
    return _under_way([span._replace(stage="any") for span in spans])[0]["any"]


def _under_way(spans: Sequence[Span]) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds while each stage was under way, and while it was the only one."""
    changes = sorted(
        [(span.start, 1, span.stage) for span in spans]
        + [(span.end, -1, span.stage) for span in spans]
    )
    running: defaultdict[str, int] = defaultdict(int)
    wall_s: defaultdict[str, float] = defaultdict(float)
    alone_s: defaultdict[str, float] = defaultdict(float)
    before = 0.0
    for now, step, name in changes:
        at_it = [stage for stage, count in running.items() if count]
        for one in at_it:
            wall_s[one] += now - before
        if len(at_it) == 1:
            alone_s[at_it[0]] += now - before
        running[name] += step
        before = now
    return wall_s, alone_s
