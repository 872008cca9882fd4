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

TRIED = 8  # images that a network is tried on
SAME, NO_CHANGE = 1e-3, 1e-7  # differences of values of vectors of unit length


def foreign_embedder(store: ImageStore, ids: Sequence[str], source: FileSource) -> Embedder:
    """Return an embedder whose network is a file that somebody else made.

    The file is a program, which is run. How images are prepared for it is read from the TOML file
    beside it, see `retrieval.preparation`.

    Args:
        store: The images.
        ids: The images of the whitening, see `retrieval.whitening_sample`.
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
    features = _feature_count(bare, store.read(ids[:TRIED]), source.file)
    bare = replace(bare, settings=replace(settings, features=features, dimension=features))
    return whitened(bare, store, ids) if preparation.whiten else bare


def _feature_count(bare: Embedder, images_NCHW: NDArray[np.uint8], file: Path) -> int:
    """Return the length of the vectors, and refuse networks that give no vector of an image.

    In training mode, dropout draws random numbers, and BatchNorm mixes the images of a batch.
    """
    vectors_ND, again_ND = (embed_images(bare, images_NCHW) for _ in range(2))
    alone_D = embed_images(bare, images_NCHW[:1])[0]
    mixed = not np.allclose(alone_D, vectors_ND[0], atol=SAME)
    if mixed or not np.array_equal(vectors_ND, again_ND):
        raise UserError(
            f"{file} gives different vectors for the same image; export it in evaluation mode"
        )
    unlike = any(not np.array_equal(image, images_NCHW[0]) for image in images_NCHW)
    if not vectors_ND.any() or (unlike and np.allclose(vectors_ND, vectors_ND[0], atol=NO_CHANGE)):
        raise UserError(
            f"{file} gives the same vector for all images; check scale, mean and deviation in "
            f"{file.with_suffix('.toml')}, and its outputs"
        )
    return int(vectors_ND.shape[1])
