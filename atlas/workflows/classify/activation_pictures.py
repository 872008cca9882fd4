"""Pictures of where a classifier looked, label by label, and a table of boxes."""

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from atlas.core.errors import UserError
from atlas.core.locks import writes
from atlas.core.progress import tracked
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.dataset.artifacts import ProbabilitySet, save_table
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.report.picture_pairs import LookedAt, Truth, save_montage
from atlas.workflows.classify.activation_maps import (
    Asked,
    images_of,
    mean_maps,
    mean_probabilities,
    open_classifiers,
)
from atlas.workflows.settings import MapSettings
from classify.activation_maps import Box, boxes_of
from classify.decisions.thresholds import apply_thresholds, load_thresholds
from classify.run_files import load_held_out, load_test

BOXES_FILE = "boxes.csv"
BOX_COLUMNS = (
    "Id", "label", "name", "truth", "probability", "box", "x0", "y0", "x1", "y1", "peak", "mass",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ShownMaps:
    """The maps that were drawn.

    Attributes:
        labels, maps, boxes: How many there are of each.
        empty: The number of maps without support for their label.
        size_px: The side of the images to which the boxes refer.
    """

    labels: int
    maps: int
    empty: int
    boxes: int
    size_px: int


@writes("out")
def show_maps(data: Path, source: Path, out: Path, wanted: MapSettings) -> ShownMaps:
    """Write a PNG for each label, and boxes.csv, to `out`.

    Args:
        data: The atlas folder.
        source: The folder of a classifier, or of folds.
        out: The folder to write.
        wanted: Which images and labels are shown.

    Raises:
        DataError: The data folder has problems.
        MissingStageError: There is no classifier, or there are no probabilities of the images.
        UserError: An image or label does not exist.
    """
    check_replaceable(out, "show_maps")
    manifest = read_manifest(data)
    asked = open_classifiers(source, manifest)
    ids_by_label = chosen_images(wanted, source, asked, manifest)
    rows: list[tuple[object, ...]] = []
    maps = empty = 0
    with folder_written_beside(out, written_by="show_maps") as beside:
        for label, ids in tracked(ids_by_label.items(), "drawing maps", unit="labels"):
            found = _look(label, ids, asked, manifest, wanted)
            name = manifest.spec.labels[label]
            rows += [row for one, boxes in found for row in _rows(one, boxes, label, name)]
            maps, empty = maps + len(found), empty + sum(not boxes for _, boxes in found)
            save_montage(
                beside / picture_name(label, name),
                [one for one, _ in found],
                channels=manifest.spec.channels,
                title=f"{label} {name}: probability and class activation map",
            )
        save_table(beside / BOXES_FILE, pd.DataFrame(rows, columns=list(BOX_COLUMNS)))
    size_px = asked[0].classifier.image_size_px
    return ShownMaps(
        labels=len(ids_by_label), maps=maps, empty=empty, boxes=len(rows), size_px=size_px
    )


def chosen_images(
    wanted: MapSettings, source: Path, asked: Sequence[Asked], manifest: Manifest
) -> dict[int, tuple[str, ...]]:
    """Return the images of each label: the requested ones, or the most likely ones.

    The most likely images follow from the probabilities in the folder `source`.

    Raises:
        MissingStageError: There are no probabilities.
        UserError: A label or an id does not exist.
    """
    names = manifest.spec.labels
    labels = sorted({label_number(text, names) for text in wanted.labels})
    if not wanted.ids:
        load = load_test if wanted.split == "test" else load_held_out
        return likeliest(load(source), labels or range(len(names)), wanted.images)
    ids = tuple(dict.fromkeys(wanted.ids))
    return dict.fromkeys(labels, ids) if labels else _said_of(ids, source, asked, manifest)


def label_number(text: str, names: Sequence[str]) -> int:
    """Return the number of a label that is given by number or by name, in upper or lower case.

    Raises:
        UserError: There is no such label.
    """
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    lower = [name.lower() for name in names]
    if text.lower() in lower:
        return lower.index(text.lower())
    raise UserError(
        f"label {text!r} does not exist; give a number from 0 to {len(names) - 1} or a name"
    )


def likeliest(
    kept: ProbabilitySet, labels: Sequence[int], images: int
) -> dict[int, tuple[str, ...]]:
    """Return the ids with the highest probability of each label, highest first, ties by id."""
    by_id = sorted(range(len(kept.ids)), key=lambda n: kept.ids[n])
    by_label = {}
    for label in labels:
        order = np.argsort(-kept.probabilities_NC[by_id, label], kind="stable")[:images]
        by_label[label] = tuple(kept.ids[by_id[n]] for n in order)
    return by_label


def picture_name(label: int, name: str) -> str:
    """Return the name of a picture, with characters that file names may not contain replaced."""
    plain = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"{label:02d}_{plain}.png"


def _look(
    label: int,
    ids: Sequence[str],
    asked: Sequence[Asked],
    manifest: Manifest,
    wanted: MapSettings,
) -> list[tuple[LookedAt, list[Box]]]:
    """Return the images of one label, highest probability first."""
    images = images_of(asked, manifest, ids)
    maps = mean_maps(asked, images, {image_id: [label] for image_id in ids})
    probabilities = mean_probabilities(asked, images)
    found = []
    for image_id in sorted(ids, key=lambda image_id: (-probabilities[image_id][label], image_id)):
        map_HW = maps[image_id, label]
        boxes = boxes_of(map_HW, share=wanted.box_share, least_area=wanted.least_box_area)
        one = LookedAt(
            image_id=image_id,
            field_CHW=images[image_id],
            map_HW=map_HW,
            boxes=[(box.x0, box.y0, box.x1, box.y1) for box in boxes],
            probability=float(probabilities[image_id][label]),
            truth=_truth(manifest.by_id[image_id].labels, label),
        )
        found.append((one, boxes))
    return found


def _truth(labels: Sequence[int] | None, label: int) -> Truth:
    if labels is None:
        return "unknown"
    return "right" if label in labels else "wrong"


def _rows(one: LookedAt, boxes: Sequence[Box], label: int, name: str) -> list[tuple[object, ...]]:
    about = (one.image_id, label, name, one.truth, one.probability)
    return [(*about, number, *astuple(box)) for number, box in enumerate(boxes, start=1)]


def _said_of(
    ids: Sequence[str], source: Path, asked: Sequence[Asked], manifest: Manifest
) -> dict[int, tuple[str, ...]]:
    """Return the images of each label that the classifier or the tables give them."""
    probabilities = mean_probabilities(asked, images_of(asked, manifest, ids))
    names, tests = manifest.spec.labels, set(manifest.of("test").ids)
    of_tests, of_others = (load_thresholds(source, names, of=of) for of in ("test", "held_out"))
    carried = {}
    for image_id in ids:
        thresholds = of_tests if image_id in tests else of_others
        (given_C,) = apply_thresholds(probabilities[image_id][None], thresholds)
        own = manifest.by_id[image_id].labels or ()
        carried[image_id] = {int(label) for label in np.flatnonzero(given_C)} | set(own)
    labels = sorted(set().union(*carried.values()))
    return {label: tuple(i for i in ids if label in carried[i]) for label in labels}
