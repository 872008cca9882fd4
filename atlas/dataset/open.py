"""Opening a data folder once, to pass it to several functions."""

import html
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from atlas.core.files import AnyPath, InFolder
from atlas.dataset.manifest import LABELLED, Manifest, manifest_of_plain, read_manifest
from atlas.dataset.plain_folder import is_plain, read_plain_folder
from atlas.dataset.spec import SPEC_FILE, AtlasSpec, has_spec, image_folders

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Dataset(InFolder):
    """A folder of images that `open_dataset` has opened.

    You can pass it wherever the path of a data folder is expected.

    Attributes:
        folder: The data folder.
        manifest: The images with their files, labels and identities.
        assumed: Sentences that say what was assumed about the folder.
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
        """The number of images of each split, without splits that have no images."""
        return dict(Counter(row.split for row in self.manifest.rows))

    @property
    def label_counts(self) -> dict[str, int]:
        """The number of labelled images of each label, by the name of the label."""
        rows = self.manifest.labelled.rows
        numbers = Counter(label for row in rows for label in row.labels or ())
        return {name: numbers[number] for number, name in enumerate(self.spec.labels)}

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


def open_dataset(folder: AnyPath) -> Dataset:
    """Open a folder of images, and log what is assumed about it.

    Args:
        folder: A folder of one of three kinds: with `atlas.toml` and tables; with `train.csv` but
            without `atlas.toml`, which is read as that of the Human Protein Atlas challenge of
            2018; or a plain folder of pictures, in which each subfolder is a label. A plain folder
            may have the subfolders `train` and `test`, which then hold the pictures.

    Raises:
        DataError: The folder has problems. All of them are listed.

    Example:
        >>> data = open_dataset("photos")  # doctest: +SKIP
        >>> data.counts  # doctest: +SKIP
        {'train': 108}
    """
    data = Path(folder)
    if data.is_dir() and not has_spec(data) and is_plain(data):
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
    if has_spec(data):
        yield f"{SPEC_FILE}: {len(spec.channels)} channels {', '.join(spec.channels)}"
    else:
        yield f"no {SPEC_FILE}: the channels and labels of the {spec.name} challenge are used"
    tests = len(manifest.rows) - len(labelled.rows)
    yield (
        f"{len(labelled.rows):,} labelled images with {len(spec.labels)} labels, "
        f"{tests:,} test images"
    )
    for split, folder in image_folders(data).items():
        if folder != data / split and manifest.of(split).rows:
            yield f"[images] of {SPEC_FILE}: {split} images lie in {folder}"
