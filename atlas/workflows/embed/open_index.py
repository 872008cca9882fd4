"""An index with what takes long to open, and how its images are read."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.dataset.headers import check_headers
from atlas.dataset.images import ImageProblem, read_field
from atlas.dataset.queries import AtlasFiles, open_files
from atlas.dataset.spec import AtlasSpec
from index.index_folder import EMBEDDER_FOLDER, IndexFolder
from index.search.open_search import open_vectors
from index.search.vector_index import VectorIndex
from retrieval.embedding import Embeds, ExportedEmbedder, load_for_queries

Files = tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class OpenIndex:
    """An index with what takes long to open, which does not change while it is open."""

    index: IndexFolder

    @cached_property
    def files(self) -> AtlasFiles:
        """The files of the atlas."""
        return open_files(self.index.spec, self.index.data)

    @cached_property
    def embedder(self) -> Embeds:
        """The embedder, without torch where its runtime allows."""
        return load_for_queries(self.index.folder / EMBEDDER_FOLDER)

    @property
    def embedding_in_words(self) -> str:
        """What embeds queries, such as "openvino float32, without torch"."""
        exported = isinstance(self.embedder, ExportedEmbedder)
        loads = "without torch" if exported else "because the embedder has no exported network"
        return f"{self.embedder.choice}, {loads}"

    @cached_property
    def search(self) -> VectorIndex:
        """The search of the index."""
        return open_vectors(self.index, few_queries=True)

    @cached_property
    def identities(self) -> dict[str, str]:
        """The identity of each reference as its table gives it, or ""."""
        return dict(zip(self.index.ids, self.index.table["Identity"].tolist(), strict=True))

    @cached_property
    def identity_counts(self) -> Counter[str]:
        """The number of references of each identity."""
        return Counter(self.identities.values())


def read_query(files: Files, spec: AtlasSpec, size_px: int | None = None) -> NDArray[np.uint8]:
    """Read an image whose headers nobody has checked yet, C x H x W.

    Raises:
        ImageProblem: The atlas would refuse the image, or it cannot be read.
    """
    if problems := check_headers(files, spec)[1]:
        raise ImageProblem("; ".join(problems))
    return read_image(files, spec, size_px)


def read_image(files: Files, spec: AtlasSpec, size_px: int | None = None) -> NDArray[np.uint8]:
    """Read an image of an atlas, C x H x W.

    Raises:
        ImageProblem: It cannot be read.
    """
    return read_field(
        files,
        spec.channels,
        max_value=spec.max_value,
        min_value=spec.min_value,
        size_px=size_px,
        whole=spec.whole,
    )
