"""What a classifier's network gives for stored images, kept row by row. Axis N: images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from atlas.files import content_hash, json_text
from atlas.parts import fill_parts
from atlas.store import ImageStore
from classify.classifier import Classifier
from engine.torch_runner import forward_rows


def kept_rows(
    classifier: Classifier,
    network: nn.Module,
    store: ImageStore,
    ids: Sequence[str],
    *,
    folder: Path,
    made_by: dict[str, Any],
    description: str,
) -> NDArray[np.float32]:
    """Outputs of `network`, made of the classifier's layers, N x ...

    Kept below `folder`, so that a killed run goes on and images that did not change cost nothing.
    made_by: what the rows follow from beside weights, precision and images; rows of another are
    kept apart.
    """
    precision = classifier.precision
    made_by = {"classifier": classifier.weights_hash, "precision": precision, **made_by}
    parts = fill_parts(
        folder / content_hash(json_text(made_by)),
        ids,
        lambda part_ids: forward_rows(network, store.read, part_ids, precision=precision),
        provenance=made_by,
        description=description,
        keys=store.keys(ids),
    )
    return np.asarray(parts.read(ids), np.float32)
