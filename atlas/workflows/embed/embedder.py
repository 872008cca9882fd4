"""Training and export of embedders."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from atlas.core.errors import UserError
from atlas.core.files import AnyPath, InFolder
from atlas.core.locks import writes
from atlas.core.result_folder import folder_extended
from atlas.core.row_cache import cache_folder
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import ImageStore, fill_store, native_size_px
from atlas.inference.onnx_file import can_run, run_onnx, write_onnx
from atlas.report.learning_curves import save_embedder_curves
from atlas.report.model_card import ModelCard, save_model_card
from atlas.training.loop import METRICS_FILE
from retrieval import training
from retrieval.embedder import Embedder, load_embedder
from retrieval.embedding import embed_images
from retrieval.settings import RECIPES, EmbedderRecipe, EmbedderSettings, ForeignSettings

CURVES_FILE = "curves.png"


@dataclass(frozen=True, kw_only=True)
class TrainedEmbedder(InFolder):
    """A trained embedder and the folder that holds its weights, settings, metrics and curves."""

    folder: Path
    embedder: Embedder

    @property
    def top1(self) -> float:
        """The share of held-out images whose nearest neighbour is of their class."""
        return float(self.embedder.provenance[training.SELECTED_BY])

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        return (
            f"The best epoch is {self.embedder.provenance['best_epoch'] + 1}, after which "
            f"{self.top1:.1%} of the held-out images have a nearest neighbour of their own class."
        )


@writes("out")
def train_embedder(
    data: AnyPath = "data",
    out: AnyPath = "runs/embedder",
    settings: EmbedderSettings | EmbedderRecipe = "card",
) -> TrainedEmbedder:
    """Train an embedder on the labelled images of an atlas.

    Images are decoded once into the folder `store` beside `out`. A stopped training is resumed
    after its last epoch.

    Args:
        data: The atlas folder.
        out: The folder to write.
        settings: The name of a recipe (`small`, `card`, `winner`, `copies`, `smoke`), or settings
            of your own.

    Raises:
        DataError: The data folder has problems.
        UserError: The settings cannot work, or `out` holds another run.

    Example:
        >>> atlas.train_embedder("data", settings="small")  # doctest: +SKIP
    """
    data, out = Path(data), Path(out)
    chosen = RECIPES[settings] if isinstance(settings, str) else settings
    manifest, store, chosen = atlas_to_train_on(data, out, chosen)
    with folder_extended(out, written_by="train_embedder"):
        trained = training.train_embedder(manifest, store, chosen, out)
        name = out.resolve().name
        save_model_card(out, model_card(name, trained, manifest))
        draw_curves(out / CURVES_FILE, {name: out})
    return TrainedEmbedder(folder=out, embedder=trained)


def draw_curves(path: Path, folders: Mapping[str, Path]) -> None:
    """Draw the loss and top-1 of each epoch of trainings in one picture, and top-1 before them.

    Args:
        path: The PNG file.
        folders: The folders of the trainings by name, also of trainings that are not finished.
    """
    save_embedder_curves(
        path,
        {name: pd.read_csv(folder / METRICS_FILE) for name, folder in folders.items()},
        {name: training.start_top1(folder) for name, folder in folders.items()},
    )


CLASS_MEANINGS = {
    "identity": "A class is an identity, such as an antibody, a specimen or a product.",
    "image": "Each image is a class of its own.",
    "label-set": "A class is a set of labels: images with exactly equal labels belong together.",
    "label-similarity": "The more labels two images share, the closer they should lie.",
}
MEASURES = {
    "identity": "share of held-out images whose nearest training image is of their class",
    "image": "share of planted edited copies whose nearest training image is their source",
    "label-set": "share of held-out images whose nearest training image has their labels",
    "label-similarity": "Jaccard similarity of the labels of held-out images and their nearest",
}


def model_card(name: str, embedder: Embedder, manifest: Manifest) -> ModelCard:
    """Return the model card of an embedder that was trained on the labelled rows of an atlas."""
    made, held_out = embedder.provenance, embedder.held_out
    unused = len(held_out.held_out_ids) + len(held_out.unseen_identity_ids)
    labelled = len(manifest.labelled.rows)
    return ModelCard(
        name=name,
        atlas=made["atlas"],
        channels=embedder.channels,
        image_size_px=embedder.image_size_px,
        dimension=embedder.settings.dimension,
        images={
            "labelled images": labelled,
            "of these, neither held out nor of an unseen identity": labelled - unused,
            "held-out images of trained identities": len(held_out.held_out_ids),
            "images of identities that trained nothing": len(held_out.unseen_identity_ids),
        },
        tables_hash=made["labelled_tables"],
        class_meaning=CLASS_MEANINGS[made["class_is"]],
        class_count=made["classes"],
        started_from=embedder.started_from,
        settings=dict(_flat(asdict(embedder.settings))),
        best_epoch=made["best_epoch"] + 1,
        measure=MEASURES[made["class_is"]],
        score=float(made[training.SELECTED_BY]),
        versions=made["versions"],
        fingerprint=embedder.fingerprint,
    )


def _flat(settings: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting, those of the loss and of the training with a dot in their names."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def atlas_to_train_on(
    data: Path, out: Path, settings: EmbedderSettings
) -> tuple[Manifest, ImageStore, EmbedderSettings]:
    """Return the atlas, its image store next to `out`, and the settings with the image size.

    Raises:
        DataError: The data folder has problems.
        UserError: The settings cannot work.
    """
    manifest = read_manifest(data)
    size_px = settings.image_size_px or native_size_px(manifest)
    store = fill_store(manifest, cache_folder(out), size_px=size_px)
    return manifest, store, replace(settings, image_size_px=size_px)


# The export of an embedder as one ONNX file.


LEAST_COSINE = 0.9999
CHECKED_IMAGES = 12  # another batch size than that of the export


@dataclass(frozen=True, kw_only=True)
class Export:
    """An exported embedder.

    Attributes:
        shape_CHW: The shape of an image.
        dimension: The number of dimensions of a vector.
        least_cosine: The lowest cosine to the vectors of torch; None if no library here can run the
            file.
    """

    shape_CHW: tuple[int, int, int]
    dimension: int
    least_cosine: float | None


@writes("out")
def export_embedder(embedder: Path, out: Path) -> Export:
    """Write the float32 network of an embedder as an ONNX file, and compare it with torch.

    Raises:
        MissingStageError: There is no embedder.
        UserError: The network is the file of somebody else, or the vectors of the new file differ
            from those of torch.
    """
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; give the name of a file, such as model.onnx")
    exact = replace(load_embedder(embedder), runtime=None)
    if isinstance(exact.settings, ForeignSettings):
        raise UserError(f"{embedder}: the network is a file of somebody else; use that file itself")
    side_px = exact.image_size_px
    shape = (len(exact.channels), side_px, side_px)
    about = {
        "channels": ",".join(exact.channels),
        "embedder": exact.fingerprint,
        "started_from": exact.started_from,
    }
    write_onnx(exact.network, out, shape_CHW=shape, about=about)
    rng = np.random.default_rng(0)
    coarse = rng.gamma(1.0, 30.0, (CHECKED_IMAGES, len(exact.channels), 8, 8))
    repeated = coarse.repeat(-(-side_px // 8), axis=2).repeat(-(-side_px // 8), axis=3)
    images = repeated[:, :, :side_px, :side_px].clip(0, 255).astype(np.uint8)
    vectors_ND = embed_images(exact, images)
    least = None
    if can_run():
        least = float((run_onnx(out, images) * vectors_ND).sum(1).min())
        if least < LEAST_COSINE:
            out.unlink()
            raise UserError(
                f"{embedder}: the vectors of the ONNX file differ from those of torch "
                f"(cosine {least:.5f}); nothing was written"
            )
    return Export(shape_CHW=shape, dimension=vectors_ND.shape[1], least_cosine=least)
