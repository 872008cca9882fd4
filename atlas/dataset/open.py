"""A data folder that is opened once and then passed to every job."""

import html
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path

from atlas.dataset.manifest import LABELLED, Manifest, manifest_of_plain, read_manifest
from atlas.dataset.plain_folder import is_plain, read_plain_folder
from atlas.dataset.spec import SPEC_FILE, AtlasSpec, image_folders

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A folder of images, as `open_dataset` returns it.

    It can be given wherever a path of a data folder can.

    folder: the data folder.
    manifest: its images, with their files, labels and identities.
    assumed: what was assumed of the folder, in sentences.
    """

    folder: Path
    manifest: Manifest = field(repr=False)
    assumed: tuple[str, ...] = field(repr=False)

    @property
    def spec(self) -> AtlasSpec:
        """The channels, labels and file names of the images."""
        return self.manifest.spec

    @property
    def counts(self) -> dict[str, int]:
        """How many images each split has; splits without images are left out."""
        return dict(Counter(row.split for row in self.manifest.rows))

    @property
    def label_counts(self) -> dict[str, int]:
        """How many labelled images each label has, by its name."""
        rows = self.manifest.labelled.rows
        numbers = Counter(label for row in rows for label in row.labels or ())
        return {name: numbers[number] for number, name in enumerate(self.spec.labels)}

    def __fspath__(self) -> str:
        return fspath(self.folder)

    def __len__(self) -> int:
        return len(self.manifest.rows)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {split}" for split, count in self.counts.items())
        return f"Dataset({str(self.folder)!r}: {counts}; channels {', '.join(self.spec.channels)})"

    def _repr_html_(self) -> str:
        """Return a small table for notebooks."""
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self._figures()
        )
        return f"<table>{rows}</table>"

    def _figures(self) -> Iterator[tuple[str, str]]:
        yield "folder", str(self.folder)
        for split, count in self.counts.items():
            yield f"{split} images", f"{count:,}"
        yield "channels", ", ".join(self.spec.channels)
        yield "labels", f"{len(self.spec.labels):,}"
        yield from (("assumed", text) for text in self.assumed)


def open_dataset(folder: str | PathLike[str]) -> Dataset:
    """Open a folder of images, and log what is assumed of it.

    Args:
        folder: A folder with `atlas.toml` and tables; one with `train.csv` as that of the Human
            Protein Atlas challenge of 2018; or a plain folder of pictures, in which each subfolder
            is a label, perhaps with all pictures in its subfolders `train` and `test`.

    Raises:
        DataError: The folder has problems, all of which are listed.

    Example:
        >>> data = open_dataset("photos")
        >>> data.counts
        {'train': 108}
    """
    data = Path(folder)
    if data.is_dir() and not (data / SPEC_FILE).exists() and is_plain(data):
        plain = read_plain_folder(data)
        opened = Dataset(folder=data, manifest=manifest_of_plain(plain), assumed=plain.assumed)
    else:
        manifest = read_manifest(data)
        opened = Dataset(folder=data, manifest=manifest, assumed=tuple(_of_tables(data, manifest)))
    for text in opened.assumed:
        LOGGER.info(f"{data}: {text}")
    return opened


def _of_tables(data: Path, manifest: Manifest) -> Iterator[str]:
    spec, labelled = manifest.spec, manifest.of(*LABELLED)
    if (data / SPEC_FILE).exists():
        yield f"{SPEC_FILE}: {len(spec.channels)} channels {', '.join(spec.channels)}"
    else:
        yield f"no {SPEC_FILE}: channels and labels are those of the {spec.name} challenge"
    tests = len(manifest.rows) - len(labelled.rows)
    yield (
        f"{len(labelled.rows):,} labelled images with {len(spec.labels)} labels, "
        f"{tests:,} test images"
    )
    for split, folder in image_folders(data).items():
        if folder != data / split and manifest.of(split).rows:
            yield f"[images] of {SPEC_FILE}: {split} images lie in {folder}"
