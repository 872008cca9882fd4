"""Sources of images for tests, which are functions from ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pixels:
    """Images by id, as `ImageSource` describes them."""

    read: Callable[[Sequence[str]], Any]
    keys: Callable[[Sequence[str]], Sequence[str]] = list

    def only(self, ids: Sequence[str]) -> "Pixels":
        return self
