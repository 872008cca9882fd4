"""Stages are kept apart, threads may overlap, and nothing is recorded unless asked for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.core.timing import Span, StageCost, costs, covered_s, recorded, stage

# decode   0-4, 2-6   network   5-9   write 20-21
SPANS = [
    Span("network", 5.0, 9.0, 3),
    Span("decode", 2.0, 6.0, 1),
    Span("decode", 0.0, 4.0, 1),
    Span("write", 20.0, 21.0, 0),
]


def test_overlapping_stages_have_the_costs_computed_by_hand() -> None:
    decode, network, write = costs(SPANS)
    assert decode == StageCost(stage="decode", items=2, busy_s=8.0, wall_s=6.0, alone_s=5.0)
    assert network == StageCost(stage="network", items=3, busy_s=4.0, wall_s=4.0, alone_s=3.0)
    assert write == StageCost(stage="write", items=0, busy_s=1.0, wall_s=1.0, alone_s=1.0)
    assert covered_s(SPANS) == 10.0
    assert (costs([]), covered_s([])) == ([], 0.0)


ticks = st.integers(0, 12)


@given(st.lists(st.tuples(st.sampled_from("abc"), ticks, st.integers(0, 4)), max_size=8))
def test_costs_equal_those_counted_second_by_second(drawn: list[tuple[str, int, int]]) -> None:
    spans = [Span(name, float(start), float(start + length), 1) for name, start, length in drawn]
    active = [{s.stage for s in spans if s.start <= tick < s.end} for tick in range(20)]
    assert covered_s(spans) == sum(map(bool, active))
    for cost in costs(spans):
        assert cost.wall_s == sum(cost.stage in names for names in active)
        assert cost.alone_s == sum(names == {cost.stage} for names in active)


def test_threads_are_recorded_and_an_error_passes_through() -> None:
    both = threading.Barrier(2)

    def work(_: int) -> None:
        with stage("work", items=1):
            both.wait()

    with recorded() as recorder:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, range(2)))
        with pytest.raises(KeyError), stage("fails"):
            raise KeyError
    assert [(span.stage, span.items) for span in recorder.spans] == [
        ("work", 1), ("work", 1), ("fails", 0),
    ]  # fmt: skip
    assert all(span.start <= span.end for span in recorder.spans)


def test_stages_are_recorded_only_inside_the_block() -> None:
    with stage("before"):
        pass
    with recorded() as outer:
        with recorded() as inner, stage("inner"):
            pass
        with stage("outer"):
            pass
    with stage("after"):
        pass
    assert [span.stage for span in inner.spans] == ["inner"]
    assert [span.stage for span in outer.spans] == ["outer"]
