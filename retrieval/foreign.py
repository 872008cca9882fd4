"""Build an embedder from a network that somebody else made: a TorchScript or an ONNX file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from atlas.core.checksums import file_checksum
from atlas.core.errors import UserError
from atlas.dataset.store import ImageStore
from atlas.inference.network_files import NetworkFile
from retrieval.embedder import Embedder
from retrieval.embedding import embed_images
from retrieval.frozen import whitened
from retrieval.network import foreign_network
from retrieval.preparation import read_preparation
from retrieval.settings import ForeignSettings
from retrieval.sources import FileSource


def foreign_embedder(store: ImageStore, ids: Sequence[str], source: FileSource) -> Embedder:
    """Return an embedder whose network is a file that somebody else made.

    The file is a program, which is run. How images are prepared for it is read from the TOML file
    beside it, see `retrieval.preparation`.

    Args:
        store: The images.
        ids: The images that may be used for the whitening.
        source: The file.

    Raises:
        DataError: The TOML file has problems.
        UserError: The network cannot be run, or gives no vectors; the text says why.

    Example:
        >>> sscd = FileSource(kind="torchscript", file=Path("sscd.pt"))  # doctest: +SKIP
        >>> foreign_embedder(store, store.ids, sscd).settings.dimension  # doctest: +SKIP
        256
    """
    preparation = read_preparation(source.file, store.channels)
    settings = ForeignSettings(
        kind=source.kind,
        file_hash=file_checksum(source.file),
        preparation=preparation,
        features=0,
        dimension=0,
    )
    network = NetworkFile(source.file, source.kind, output=preparation.output)
    bare = Embedder(
        network=foreign_network(settings, store.channels, network, nn.Identity()),
        settings=settings,
        channels=store.channels,
        image_size_px=store.size_px,
        provenance={"started_from": f"{source.file.name} ({source.kind}), not trained further"},
    )
    features = _feature_count(bare, store.read(ids[:1]), source.file)
    bare = replace(bare, settings=replace(settings, features=features, dimension=features))
    return whitened(bare, store, ids) if preparation.whiten else bare


def _feature_count(bare: Embedder, images_NCHW: NDArray[np.uint8], file: Path) -> int:
    """Return the length of the vectors, and refuse networks that draw random numbers."""
    first, again = (embed_images(bare, images_NCHW) for _ in range(2))
    if not np.array_equal(first, again):
        raise UserError(
            f"{file} gives different vectors for the same image; export it in evaluation mode"
        )
    return int(first.shape[1])
