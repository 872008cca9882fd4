"""A store that another thread is still filling: who asks for an image waits until it is there."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from atlas.manifest import Manifest
from atlas.part_files import Place
from atlas.parts import PartStore
from atlas.store import ImageStore, fill_store, parts_folder, provenance_of


class _Stopped(Exception):
    """Ends the filling between two parts, where nobody wants the rest."""


class PlacesToCome(Mapping[str, Place]):
    """Places of rows by id. Looking at one waits for it; after a failure that error is raised."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._news = threading.Condition()
        self._over = self._unwanted = False
        self._error: BaseException | None = None

    def add(self, places: Mapping[str, Place]) -> None:
        with self._news:
            if self._unwanted:
                raise _Stopped
            self._places.update(places)
            self._news.notify_all()

    def finish(self, error: BaseException | None = None) -> None:
        """No more will come."""
        with self._news:
            self._over, self._error = True, error
            self._news.notify_all()

    def stop(self) -> None:
        """No more is wanted."""
        with self._news:
            self._unwanted = True

    def wait(self) -> None:
        """Until all is there; raises what went wrong."""
        with self._news:
            self._news.wait_for(lambda: self._over)
            if self._error:
                raise self._error

    def __getitem__(self, image_id: str) -> Place:
        with self._news:
            self._news.wait_for(lambda: image_id in self._places or self._over)
            if image_id not in self._places and self._error:
                raise self._error
            return self._places[image_id]

    def __iter__(self) -> Iterator[str]:
        self.wait()
        return iter(self._places)

    def __len__(self) -> int:
        self.wait()
        return len(self._places)


@contextmanager
def store_being_filled(manifest: Manifest, folder: Path, *, size_px: int) -> Iterator[ImageStore]:
    """As `fill_store`, at once. At the end of the block all is there, or what went wrong is raised.

    An error of the block ends the filling behind the part that is being made.
    """
    places = PlacesToCome()

    def fill() -> None:
        try:
            fill_store(manifest, folder, size_px=size_px, tell=places.add)
        except BaseException as error:
            places.finish(error)
        else:
            places.finish()

    thread = threading.Thread(target=fill, name="filling the store")
    thread.start()
    parts = PartStore(
        folder=parts_folder(manifest, folder, size_px=size_px),
        ids=manifest.ids,
        provenance=provenance_of(manifest, size_px=size_px),
        places=places,
    )
    try:
        yield ImageStore(parts=parts, channels=manifest.spec.channels, size_px=size_px)
        places.wait()
    except BaseException:
        places.stop()
        raise
    finally:
        thread.join()
