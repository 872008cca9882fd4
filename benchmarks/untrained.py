"""An embedder folder with an untrained ResNet50, which is as fast as a trained one.

python -m benchmarks.untrained --data DATA --out EMBEDDER --size-px 256
atlas build-index --data DATA --embedder EMBEDDER --out RUN/index
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import nn

from atlas.core.result_folder import folder_written_beside
from atlas.dataset.spec import read_spec
from atlas.training.backbones import build_backbone
from atlas.training.layers import ChannelStatistics
from retrieval.embedder import Embedder, save_embedder
from retrieval.network import trained_network
from retrieval.settings import RECIPES

BACKBONE = "resnet50"
# About what fields of the Human Protein Atlas have, in gray levels.
MEAN, DEVIATION = 20.0, 30.0


def main(
    data: Path, out: Path, size_px: int = 256, views: Literal[1, 8] = 1, seed: int = 0
) -> None:
    """Write the embedder for the channels of `data`."""
    embedder = untrained_embedder(read_spec(data).channels, size_px, views=views, seed=seed)
    with folder_written_beside(out, written_by="untrained") as folder:
        save_embedder(folder, embedder)
    print(f"wrote {out}: {embedder.started_from}")


def untrained_embedder(
    channels: tuple[str, ...],
    size_px: int,
    *,
    backbone_name: str = BACKBONE,
    views: Literal[1, 8] = 1,
    seed: int = 0,
) -> Embedder:
    """Return the network of the model card with random weights."""
    settings = replace(
        RECIPES["card"],
        weights="none",
        image_size_px=size_px,
        backbone=backbone_name,
        views=views,
    )
    backbone = build_backbone(
        backbone_name, channels=len(channels), stem=settings.stem, weights="none", seed=seed
    )
    perturb(backbone.module, seed)
    return Embedder(
        network=trained_network(settings, usual_statistics(len(channels)), backbone),
        settings=settings,
        channels=channels,
        image_size_px=size_px,
        provenance={"started_from": f"{backbone.started_from}, norms perturbed"},
    )


def usual_statistics(channels: int) -> ChannelStatistics:
    return ChannelStatistics(mean_C=(MEAN,) * channels, std_C=(DEVIATION,) * channels)


def perturb(network: nn.Module, seed: int) -> None:
    """Give every normalisation a random scale and shift, in place.

    timm initialises the last one of each block with zero, which makes an untrained residual network
    nearly linear: rounding errors would then look smaller than they are.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.2, 0.8)
                layer.bias.normal_(0.0, 0.1)


if __name__ == "__main__":
    tyro.cli(main)
