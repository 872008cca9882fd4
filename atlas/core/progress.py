"""Progress of long work on stderr: a bar for each stage, or a line from time to time.

A terminal or notebook shows a bar with the count, the rate and the remaining time of the stage. A
stage that takes less than half a second shows no bar. If stderr is not a terminal, for example a
log file, each stage writes a line about every 30 seconds, and a long stage also writes one at its
end:

    decoding: 1,200 of 31,072 images, 38/s, 13 min left

Set the environment variable `TQDM_DISABLE=1` to switch progress off.
"""

import os
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from atlas.core.escaping import escaped

Item = TypeVar("Item")

SHOWN_AFTER_S = 0.5
LINE_EVERY_S = 30.0
LONG_STAGE_S = 10.0  # a stage that takes longer writes a line at its end

_bars: list["_Bar"] = []  # the bars of the stages that are running
_writing = threading.RLock()
_hidden = False


class Progress:
    """The progress of a stage. Any thread may report its work. This base class shows nothing.

    Args:
        stage: The name of the work, such as `decoding`.
        total: The number of items.
        unit: The name of the items, in the plural.
    """

    def __init__(self, stage: str, *, total: int, unit: str) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done = self.skipped = 0
        self.began = time.monotonic()

    def update(self, count: int = 1) -> None:
        """Report that `count` more items are done."""
        with _writing:
            self.done += count
            self._show()

    def skip(self, count: int = 1) -> None:
        """Report items that an earlier run has done. They do not count towards the rate."""
        with _writing:
            self.done += count
            self.skipped += count

    def rename(self, stage: str) -> None:
        """Give the stage another name, such as the name of the next epoch."""
        self.stage = stage

    def note(self, text: str) -> None:
        """Write a line about the stage above all bars."""

    def text(self) -> str:
        """Return the count, rate and remaining time, such as `12 of 40 images, 3/s, 9 s left`."""
        took_s = max(time.monotonic() - self.began, 1e-9)
        rate = (self.done - self.skipped) / took_s
        counted = f"{self.done:,} of {self.total:,} {self.unit}"
        if rate <= 0:
            return counted
        left_s = (self.total - self.done) / rate
        ending = f"{duration(left_s)} left" if left_s > 0 else f"took {duration(took_s)}"
        return f"{counted}, {_rate(rate)}, {ending}"

    def close(self, *, finished: bool) -> None:
        """End the stage.

        Args:
            finished: Whether all items are done and no error occurred.
        """

    def _show(self) -> None:
        pass


@contextmanager
def progress(stage: str, *, total: int, unit: str = "images") -> Iterator[Progress]:
    """Show the progress of a stage while the block runs.

    Args:
        stage: The name of the work, such as `decoding`.
        total: The number of items. If it is 0, nothing is shown.
        unit: The name of the items, in the plural.

    Example:
        with progress("decoding", total=len(files)) as shown:
            for file in files:
                decode(file)
                shown.update()
    """
    shown = _kind(total)(stage, total=total, unit=unit)
    finished = False
    try:
        yield shown
        finished = True
    finally:
        shown.close(finished=finished)


def tracked(items: Collection[Item], stage: str, *, unit: str = "images") -> Iterator[Item]:
    """Yield the items, and show how many of them the caller has processed."""
    with progress(stage, total=len(items), unit=unit) as shown:
        for item in items:
            yield item
            shown.update()


def say(text: str) -> None:
    """Write a line to stderr above the bars, with its control characters as escapes."""
    if _hidden:
        return
    text = escaped(text)
    with _writing:
        if _bars:
            _bar_class().write(text, file=sys.stderr)
        else:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


def hide_progress() -> None:
    """Stop showing progress, because the command is being stopped. It takes no lock."""
    global _hidden
    _hidden = True


def duration(seconds: float) -> str:
    """Return a duration as text.

    Example:
        >>> duration(12), duration(540), duration(7500)
        ('12 s', '9 min', '2 h 5 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class _Lines(Progress):
    """Write a line from time to time."""

    def __init__(self, stage: str, *, total: int, unit: str) -> None:
        super().__init__(stage, total=total, unit=unit)
        self._said_at = self.began

    def note(self, text: str) -> None:
        self._said_at = time.monotonic()
        say(text)

    def close(self, *, finished: bool) -> None:
        if finished and time.monotonic() - self.began >= LONG_STAGE_S:
            self._say()

    def _show(self) -> None:
        if self.done < self.total and time.monotonic() - self._said_at >= LINE_EVERY_S:
            self._say()

    def _say(self) -> None:
        self._said_at = time.monotonic()
        say(f"{self.stage}: {self.text()}")


class _Bar(Progress):
    """Draw a bar with tqdm. Bars of several stages are drawn below one another."""

    def __init__(self, stage: str, *, total: int, unit: str) -> None:
        super().__init__(stage, total=total, unit=unit)
        with _writing:
            self._bar = _bar_class()(
                total=total, desc=stage, file=sys.stderr, delay=SHOWN_AFTER_S, miniters=1,
                dynamic_ncols=True, disable=_hidden, leave=True,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {said}",
            )  # fmt: skip
            self._bar.shown = self
            _bars.append(self)

    def rename(self, stage: str) -> None:
        super().rename(stage)
        with _writing:
            self._bar.set_description_str(stage, refresh=False)

    def note(self, text: str) -> None:
        say(text)

    def close(self, *, finished: bool) -> None:
        with _writing:
            _bars.remove(self)
            if _hidden:
                self._bar.disable = True
            self._bar.leave = finished
            self._bar.close()

    def _show(self) -> None:
        if not _hidden:
            self._bar.update(self.done - self._bar.n)


@cache
def _bar_class() -> Any:
    """Return the tqdm class whose bars show the text of this module.

    tqdm is imported here, so that a command that draws no bar does not load it.
    """
    from tqdm import tqdm

    class WordedBar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # no monitor thread: a bar is drawn only when its count changes
        shown: Progress | None = None

        @property
        def format_dict(self) -> dict[str, Any]:
            said = self.shown.text() if self.shown else ""
            return {**super().format_dict, "said": said}

    WordedBar.set_lock(_writing)
    return WordedBar


def _kind(total: int) -> type[Progress]:
    if not total or os.environ.get("TQDM_DISABLE", "0") not in ("", "0"):
        return Progress
    if "ipykernel" in sys.modules:  # a notebook cell draws one bar correctly, but not several
        return _Lines if _bars else _Bar
    return _Bar if sys.stderr.isatty() else _Lines


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
