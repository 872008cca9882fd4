"""An atlas whose labelled images are divided into folds, and training on one of them.

What counts as found is an image of the same identity where identities are the classes, else of
the same labels; images of a class of their own are in no fold.
"""

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import ImageRow, Manifest
from atlas.dataset.splits.folds import Fold, block_folds, random_folds
from atlas.dataset.splits.hold_out import kin_of
from atlas.dataset.store import ImageStore
from atlas.workflows.embed.embedder import atlas_to_train_on
from atlas.workflows.settings import FoldSettings
from retrieval import training
from retrieval.embedder import Embedder
from retrieval.settings import EmbedderSettings


@dataclass(frozen=True, kw_only=True)
class FoldedAtlas:
    """class_of: of every image that is in a fold, by id."""

    manifest: Manifest
    store: ImageStore
    class_of: dict[str, str]
    folds: list[Fold]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.class_of)

    def about(self, how: FoldSettings) -> dict[str, Any]:
        """What folds and images follow from, for `claim_folder`."""
        return {
            **asdict(how),
            "images": self.store.content_hash,
            "labelled_tables": self.manifest.labelled.table_hash,
        }


def fold_atlas(
    data: Path, out: Path, settings: EmbedderSettings, how: FoldSettings
) -> tuple[FoldedAtlas, EmbedderSettings]:
    """Reads the atlas, fills its store beside `out`, and divides it; settings with its size.

    Raises DataError for the data folder, UserError for settings that cannot work and where a class
    cannot be divided.
    """
    manifest, store, settings = atlas_to_train_on(data, out, settings)
    class_of = classes_to_find(manifest, settings)
    atlas = FoldedAtlas(
        manifest=manifest,
        store=store,
        class_of=class_of,
        folds=_folds(class_of, _ties(manifest, settings), how, settings.training.seed),
    )
    return atlas, settings


def classes_to_find(manifest: Manifest, settings: EmbedderSettings) -> dict[str, str]:
    """id -> class of the labelled rows, sorted by id; without classes of one image."""
    name = _identity if _finds_identities(manifest, settings) else _label_set
    name_of = {row.id: name(row) for row in sorted(manifest.labelled.rows, key=lambda r: r.id)}
    counts = Counter(name_of.values())
    return {i: name for i, name in name_of.items() if name is not None and counts[name] > 1}


def train_on(
    atlas: FoldedAtlas,
    fold: Fold,
    settings: EmbedderSettings,
    folder: Path,
) -> Embedder:
    """Trains on a fold's training images alone; a stopped run goes on, see `train_embedder`."""
    rows = tuple(atlas.manifest.by_id[image_id] for image_id in fold.training_ids)
    manifest = Manifest(spec=atlas.manifest.spec, rows=rows)
    return training.train_embedder(manifest, atlas.store, settings, folder)


def _finds_identities(manifest: Manifest, settings: EmbedderSettings) -> bool:
    if settings.classes == "auto":
        return bool(manifest.repeated_identities)
    return settings.classes == "identity"


def _identity(row: ImageRow) -> str | None:
    return row.identity


def _label_set(row: ImageRow) -> str | None:
    return format_labels(tuple(sorted(row.labels or ())))


def _ties(manifest: Manifest, settings: EmbedderSettings) -> dict[str, str]:
    """id -> what it must not be parted from; not its identity, where that is to be found."""
    if _finds_identities(manifest, settings):
        rows = tuple(replace(row, identity=None) for row in manifest.rows)
        manifest = Manifest(spec=manifest.spec, rows=rows)
    return kin_of(manifest)


def _folds(
    class_of: dict[str, str], ties: dict[str, str], how: FoldSettings, seed: int
) -> list[Fold]:
    ids_by_class: dict[str, list[str]] = defaultdict(list)
    for image_id, name in class_of.items():
        ids_by_class[name].append(image_id)
    if how.folds == "blocks":
        return block_folds(ids_by_class, folds=how.fold_count, gap=how.block_gap, group_of=ties)
    return random_folds(ids_by_class, folds=how.fold_count, seed=seed, group_of=ties)
