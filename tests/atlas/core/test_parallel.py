"""Work by threads: each item is done once, in any number of threads, until something fails."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.core.parallel import by_threads


@given(items=st.lists(st.integers()), threads=st.integers(1, 8))
def test_results_are_in_the_order_of_the_items(items: list[int], threads: int) -> None:
    done: list[int] = []

    def work(item: int) -> int:
        done.append(item)
        return 2 * item

    assert by_threads(work, items, threads=threads) == [2 * item for item in items]
    assert sorted(done) == sorted(items)


def test_items_are_done_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)
    places = by_threads(lambda _: together.wait(), range(3), threads=3)
    assert sorted(places) == [0, 1, 2]  # a barrier gives each of those that wait another number


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_no_further_item_is_started(error: type[BaseException]) -> None:
    started = []

    def work(item: int) -> None:
        started.append(item)
        time.sleep(0.01)
        if item == 1:
            raise error(item)

    with pytest.raises(error, match=r"^1$"):
        by_threads(work, range(1000), threads=2)
    assert len(started) < 10


def test_of_several_errors_that_of_the_first_item_is_raised() -> None:
    together = threading.Barrier(3, timeout=30)

    def work(item: int) -> None:
        together.wait()
        time.sleep(0.05 * (3 - item))  # the last item fails first
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"^0$"):
        by_threads(work, range(3), threads=3)
