"""Rows of which other commands compute their share, see `--part`."""

import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from atlas.core.execution import PartEndedError, Share
from atlas.core.row_work import IdAndKey, Places, StoredRow

LOGGER = logging.getLogger(__name__)
LOOKS_EVERY_S = 2.0


class LateKeys(Sequence[str]):
    """Keys in the making. Asking for one makes it, or waits for it."""

    @abstractmethod
    def known(self, at: int) -> str | None:
        """Return a key if it is known, without waiting for it."""

    def refresh(self) -> None:
        """Read the keys that other commands have made."""


class SharedRows(dict[str, StoredRow]):
    """Rows by id. Accessing a row of another part waits until it is stored.

    Args:
        ids: The ids of all rows.
        keys: Their keys.
        share: The share of this command.
        look: A function that returns the rows that are stored now.
    """

    def __init__(
        self, ids: Sequence[str], keys: Sequence[str], share: Share, look: Callable[[], Places]
    ) -> None:
        super().__init__()
        self._ids, self._keys, self._share, self._look = ids, keys, share, look

    @cached_property
    def own(self) -> list[int]:
        """The positions of the rows of this share."""
        return [n for n, image_id in enumerate(self._ids) if self._share.has(image_id)]

    def own_names(self) -> Iterator[IdAndKey]:
        """Yield the ids and keys of the rows of this share."""
        return ((self._ids[n], self._keys[n]) for n in self.own)

    def __missing__(self, image_id: str) -> StoredRow:
        """Return the row of another part as soon as it is stored.

        Raises:
            PartEndedError: Nothing new has been stored for the time that a part waits.
            KeyError: The id is unknown.
        """
        if image_id not in self._wanted:
            raise KeyError(image_id)
        self.refresh()
        if image_id not in self and self._share.wait_minutes:
            LOGGER.info(f"waiting for the other parts: {self._missing_in_words()}")
        since = time.monotonic()
        while image_id not in self:
            if time.monotonic() - since >= 60 * self._share.wait_minutes:
                raise self._ended()
            time.sleep(LOOKS_EVERY_S)
            before = len(self)
            self.refresh()
            if len(self) > before:
                since = time.monotonic()
        return self[image_id]

    def refresh(self) -> None:
        """Note the rows that other parts have stored."""
        if len(self) == len(self._wanted):
            return
        stored = self._look()
        self.update({name[0]: stored[name] for name in self._names() if name in stored})

    @cached_property
    def _wanted(self) -> frozenset[str]:
        return frozenset(self._ids)

    def _names(self) -> Iterator[IdAndKey]:
        """Yield the ids and keys of missing rows whose key is known."""
        late = self._keys if isinstance(self._keys, LateKeys) else None
        if late:
            late.refresh()
        for n, image_id in enumerate(self._ids):
            if image_id not in self:
                key = late.known(n) if late else self._keys[n]
                if key is not None:
                    yield image_id, key

    def _missing_in_words(self) -> str:
        count = len(self._wanted)
        return f"{count - len(self):,} of {count:,} rows are missing"

    def _ended(self) -> PartEndedError:
        return PartEndedError(
            f"Part {self._share.number}/{self._share.count} has computed its share so far; "
            f"{self._missing_in_words()}, which the next stage needs from the other parts. Run "
            "them, and then the same commands again; or run the command without --part, which "
            "computes what is missing."
        )
