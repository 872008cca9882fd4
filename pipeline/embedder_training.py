"""From a data folder to a trained embedder."""

from dataclasses import replace
from pathlib import Path

from atlas.errors import UserError
from atlas.manifest import Manifest, read_manifest
from atlas.store import ImageStore, fill_store, native_size_px
from retrieval import training
from retrieval.embedder import Embedder
from retrieval.module import SELECTED_BY
from retrieval.settings import EmbedderSettings, problems


def train_embedder(data: Path, out: Path, settings: EmbedderSettings) -> Embedder:
    """Reads the atlas, fills its store beside `out`, trains there, and prints what came of it.

    Raises DataError for the data folder, UserError for settings that cannot work and where `out`
    holds another run.
    """
    manifest, store, settings = atlas_to_train_on(data, out, settings)
    embedder = training.train_embedder(manifest, store, settings, out, tell=print)
    print("\n".join(summary(embedder, out)))
    return embedder


def atlas_to_train_on(
    data: Path, out: Path, settings: EmbedderSettings
) -> tuple[Manifest, ImageStore, EmbedderSettings]:
    """The atlas, its store beside `out`, and the settings with the store's size.

    Raises DataError for the data folder, UserError for settings that cannot work.
    """
    if wrong := "; ".join(problems(settings)):
        raise UserError(wrong)
    manifest = read_manifest(data)
    size_px = settings.image_size_px or native_size_px(manifest)
    store = fill_store(manifest, out.parent / "store", size_px=size_px)
    return manifest, store, replace(settings, image_size_px=size_px)


def summary(embedder: Embedder, out: Path) -> list[str]:
    """The lines to print: result, files."""
    said = embedder.provenance
    return [
        f"{embedder.image_size_px} px, {len(embedder.channels)} channels; "
        f"best epoch {said['best_epoch'] + 1}: top-1 {said[SELECTED_BY]:.4f} on what was held out",
        f"wrote {out}: weights, settings, metrics and held-out ids",
    ]
