"""The class vectors of a trained loss: a direction for each class that an embedder was trained on.

They are kept in the folder of the embedder, as class_vectors.safetensors and class_names.json.

Axes: N embeddings, C class vectors, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from atlas.core.errors import Stage
from atlas.core.files import write_bytes, write_json
from atlas.core.result_files import read_json, read_result, understood, was_written

if TYPE_CHECKING:  # torch takes seconds to load, and a lookup may not need it
    from torch import Tensor

VECTORS_FILE, NAMES_FILE = "class_vectors.safetensors", "class_names.json"
VECTORS = "class_vectors"  # the name of the tensor in its file


@dataclass(frozen=True, kw_only=True)
class ClassVectors:
    """Hold the class vectors of a trained loss.

    Attributes:
        names: Class of each vector: an identity, or label numbers separated by spaces. The
            sub-centres of a class are next to one another and all have its name.
        vectors_CD: The vectors, float32, of unit length.
    """

    names: tuple[str, ...]
    vectors_CD: NDArray[np.float32]

    def nearest(self, vectors_ND: NDArray[np.float32]) -> list[str]:
        """Return the class whose vector is most similar to each embedding."""
        nearest_N = (vectors_ND @ self.vectors_CD.T).argmax(axis=1)
        return [self.names[c] for c in nearest_N]


def named_class_vectors(
    vectors_CD: "Tensor | None", class_names: Sequence[str]
) -> ClassVectors | None:
    """Return the class vectors of a loss with their names.

    Args:
        vectors_CD: The class vectors, of any length, see `MetricLoss.class_vectors_CD`.
        class_names: Name of each class, in the order of the class numbers.

    Returns:
        The vectors in unit length; None if the loss has none, or if its classes have no names.
    """
    if vectors_CD is None or not class_names:
        return None
    subcenters = len(vectors_CD) // len(class_names)
    unit_CD: NDArray[np.float32] = vectors_CD.detach().float().cpu().numpy()
    unit_CD = unit_CD / np.linalg.norm(unit_CD, axis=1, keepdims=True)
    return ClassVectors(
        names=tuple(name for name in class_names for _ in range(subcenters)), vectors_CD=unit_CD
    )


def save_class_vectors(folder: Path, class_vectors: ClassVectors) -> None:
    """Write class vectors and their names to the folder of an embedder."""
    content = save({VECTORS: np.ascontiguousarray(class_vectors.vectors_CD)})
    write_bytes(folder / VECTORS_FILE, content)
    write_json(folder / NAMES_FILE, class_vectors.names)


def load_class_vectors(folder: Path) -> ClassVectors | None:
    """Return the class vectors of an embedder, or None if its folder has none.

    Raises:
        DamagedFileError: A file was changed, damaged or removed after it was written.
    """
    path = folder / VECTORS_FILE
    if not was_written(path):
        return None
    content = read_result(path, stage=Stage.EMBEDDER)
    names = tuple(read_json(folder / NAMES_FILE, stage=Stage.EMBEDDER))
    with understood(path, Stage.EMBEDDER):
        try:
            vectors_CD = load(content)[VECTORS]
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        if vectors_CD.shape[0] != len(names):
            raise ValueError(f"{vectors_CD.shape[0]} vectors, but {NAMES_FILE} has {len(names)}")
    return ClassVectors(names=names, vectors_CD=vectors_CD)
