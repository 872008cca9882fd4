"""What is known of test images: `DATA/truth.csv`."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from atlas.core.errors import DataError
from atlas.dataset.artifacts import load_table
from atlas.dataset.labels import parse_labels
from atlas.dataset.manifest import Manifest

TRUTH_FILE = "truth.csv"
NEEDED = ("Id", "Target")


def read_truth(data: Path, manifest: Manifest) -> pd.DataFrame | None:
    """Id and Target of test images, perhaps relation, source and edit; None without the file.

    Raises DataError with every row of another image, and with labels that are not the atlas's.
    """
    if not (data / TRUTH_FILE).exists():
        return None
    truth = load_table(data / TRUTH_FILE)
    problems = list(_problems(truth, manifest))
    if problems:
        raise DataError(str(data), problems)
    return truth


def _problems(truth: pd.DataFrame, manifest: Manifest) -> Iterator[str]:
    missing = [name for name in NEEDED if name not in truth]
    if missing:
        yield f"{TRUTH_FILE}: no column {', '.join(missing)}"
        return
    test, seen = set(manifest.of("test").ids), set()
    for image_id, text in zip(truth["Id"], truth["Target"], strict=True):
        if image_id not in test:
            yield f"{TRUTH_FILE}: {image_id} is no test image of sample_submission.csv"
        if image_id in seen:
            yield f"{TRUTH_FILE}: {image_id} stands there twice; keep one"
        if not _are_labels(text, len(manifest.spec.labels)):
            yield f"{TRUTH_FILE}: {image_id}: Target {text!r} is not labels of the atlas"
        seen.add(image_id)


def _are_labels(text: str, label_count: int) -> bool:
    try:
        labels = parse_labels(text)
    except ValueError:
        return False
    return bool(labels) and all(0 <= label < label_count for label in labels)
