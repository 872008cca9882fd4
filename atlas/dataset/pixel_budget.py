"""A bound on the memory of all threads that decode images."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# About 1 GiB: the pixels of a file, and the counts of one plane as float32.
BUDGET_VALUES = 1 << 27
# Larger images are refused. It is the limit of Pillow, above which a file may be an attack.
LARGEST_PIXELS = 178_956_970
MOST_PLANES = 4  # files with more planes may have fewer pixels


class PixelBudget:
    """The number of values (pixels x planes) that may be decoded at a time.

    Args:
        values: The largest sum over all threads. An image that is larger is decoded alone.
    """

    def __init__(self, values: int) -> None:
        self.values = values
        self.used = 0
        self._freed = threading.Condition()

    @contextmanager
    def holding(self, values: int) -> Iterator[None]:
        """Wait until an image fits, and count it while the block runs. Blocks are not nested."""
        with self._freed:
            self._freed.wait_for(lambda: not self.used or self.used + values <= self.values)
            self.used += values
        try:
            yield
        finally:
            with self._freed:
                self.used -= values
                self._freed.notify_all()


BUDGET = PixelBudget(BUDGET_VALUES)


def why_too_large(width_px: int, height_px: int, planes: int) -> str:
    """Return why an image has no usable size, or ""."""
    if width_px < 1 or height_px < 1:
        return "has no pixels"
    if width_px * height_px * max(1, planes / MOST_PLANES) > LARGEST_PIXELS:
        return (
            f"has {width_px:,} x {height_px:,} pixels, more than the {LARGEST_PIXELS:,} that are "
            "read; save a smaller image, or tiles of it"
        )
    return ""
