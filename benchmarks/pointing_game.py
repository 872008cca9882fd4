"""Whether a classifier's activation maps point at the protein, on drawn cells.

The pointing game (Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016): a
map hits where its maximum lies on the object, within a tolerance; theirs is 15 px of about 500,
here 3% of the side. Objects are the drawn places of each label's protein; asked are all labels of
the images that were held out. Beside it stand a random point (the share of the image that would be
a hit), the middle of the image, and the brightest point of the protein's channel, which knows where
protein is, but nothing of labels.
Run: python benchmarks/pointing_game.py --data D --classifier R/classifier

Axes: N questions, each an image and a label; H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from atlas.core.errors import Stage
from atlas.core.result_files import read_json
from atlas.dataset.hpa import HPA_CHANNELS, HPA_LABELS
from atlas.synthetic.cells import draw_field, protein_places
from atlas.synthetic.drawn_plan import Drawing, plan_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from classify.activation_maps import activation_maps
from classify.classifier import load_classifier
from classify.run_files import held_out_ids

TOLERANCE = 0.03  # of the side
GREEN = HPA_CHANNELS.index("green")


@dataclass(frozen=True, kw_only=True)
class Questions:
    """images_NCHW: uint8. places_NHW: bool, what a hit is. labels_N: numbers of labels."""

    images_NCHW: NDArray[np.uint8]
    places_NHW: NDArray[np.bool_]
    labels_N: NDArray[np.int64]


def main(data: Path, classifier: Path) -> None:
    """Prints the game by stage of the network, and by label as maps are made by default."""
    settings = read_json(data / "drawn.json", stage=Stage.DRAWING)["settings"]
    settings = {k: v for k, v in settings.items() if k not in ("drawing", "kind")}
    asked, held_out = load_classifier(classifier), held_out_ids(classifier)
    drawings = [d for d in plan_atlas(DrawnAtlasSettings(**settings))[0] if d.id in held_out]
    asking = questions_of(drawings, size_px=asked.image_size_px)

    def hits(stage: int | None) -> NDArray[np.bool_]:
        found = activation_maps(asked, asking.images_NCHW, asking.labels_N.tolist(), stage=stage)
        return hits_of(found, asking.places_NHW)

    by_way: dict[str, NDArray[Any]] = {
        f"stage {n + 1}": hits(n) for n in range(len(asked.network.stages()))
    }
    by_way["as maps are made"] = hits(None)
    by_way |= rivals(asking)
    _print(summary(asking, by_way), "all questions, and the mean of labels")
    _print(by_label(asking, by_way), "by label")


def questions_of(drawings: Sequence[Drawing], *, size_px: int) -> Questions:
    """Every label of every drawing."""
    images, places, labels = [], [], []
    for drawing in drawings:
        field: dict[str, Any] = {
            "antibody_seed": drawing.antibody.seed, "field_seed": drawing.field_seed,
            "labels": drawing.antibody.labels, "size_px": size_px,
        }  # fmt: skip
        image = draw_field(**field)
        for label, place in protein_places(**field).items():
            images.append(image)
            places.append(widened(place, TOLERANCE))
            labels.append(label)
    return Questions(
        images_NCHW=np.stack(images), places_NHW=np.stack(places), labels_N=np.array(labels)
    )


def widened(place_HW: NDArray[np.bool_], tolerance: float) -> NDArray[np.bool_]:
    """With all that is nearer to it than the tolerance, a share of the side."""
    reach = round(tolerance * len(place_HW))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(place_HW.astype(np.uint8), disc) > 0


def hits_of(maps_NHW: NDArray[np.float32], places_NHW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each map's maximum lies on its place; an empty map points nowhere."""
    rows, peaks = np.arange(len(maps_NHW)), maps_NHW.reshape(len(maps_NHW), -1).argmax(axis=1)
    return places_NHW.reshape(len(rows), -1)[rows, peaks] & maps_NHW.any(axis=(1, 2))


def rivals(asking: Questions) -> dict[str, NDArray[np.floating | np.bool_]]:
    """For each question: a hit, or the chance of one."""
    middle = asking.places_NHW.shape[1] // 2
    greens = [cv2.GaussianBlur(image[GREEN], (0, 0), 1.0) for image in asking.images_NCHW]
    return {
        "random point": asking.places_NHW.mean(axis=(1, 2)),
        "middle": asking.places_NHW[:, middle, middle],
        "brightest green": hits_of(np.stack(greens).astype(np.float32) + 1, asking.places_NHW),
    }


def by_label(asking: Questions, by_way: dict[str, NDArray]) -> pd.DataFrame:
    table = pd.DataFrame({"label": asking.labels_N, **by_way}).astype(float)
    means = table.groupby("label").mean()
    means.insert(0, "n", table.groupby("label").size())
    return means.rename(index=lambda label: HPA_LABELS[int(label)])


def summary(asking: Questions, by_way: dict[str, NDArray]) -> pd.DataFrame:
    means = by_label(asking, by_way).drop(columns="n").mean()
    everything = {name: float(np.mean(hit)) for name, hit in by_way.items()}
    return pd.DataFrame({"all": everything, "mean of labels": means})


def _print(table: pd.DataFrame, title: str) -> None:
    shown = Table(title, *map(str, table.columns))
    for name, row in table.iterrows():
        shown.add_row(str(name), *(f"{v:.0f}" if k == "n" else f"{v:.2f}" for k, v in row.items()))
    Console(width=200).print(shown)


if __name__ == "__main__":
    tyro.cli(main)
