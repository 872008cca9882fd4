"""Build networks that map images to embeddings.

Images enter as uint8 in 0..255; embeddings have unit length.

Axes: N images, C channels, H x W pixels, F features, D outputs.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from atlas.training.backbones import Backbone
from atlas.training.layers import (
    AvgMaxPool,
    ChannelStatistics,
    MinMaxEach,
    MixChannels,
    Normalise,
    NormaliseEach,
    in_float32,
    rotated_view,
    winner_head,
)
from retrieval.preparation import Preparation, Scale
from retrieval.settings import EmbedderSettings, ForeignSettings, FrozenSettings

DROPOUTS = (0.25, 0.5)
SCALES: dict[Scale, Callable[[int], nn.Module]] = {  # by the number of channels
    "unit": lambda count: Normalise(ChannelStatistics(mean_C=(0,) * count, std_C=(255,) * count)),
    "counts": lambda _: nn.Identity(),
    "min_max": lambda _: MinMaxEach(),
    "standard": lambda _: NormaliseEach(),
}


class EmbeddingNetwork(nn.Module):
    """Map images to embeddings of unit length, over one view or eight.

    The steps are: normalise, resize if `input_px` is given, backbone, head, and scale to unit
    length. Eight views are all flips and rotations of an image; their embeddings are averaged.

    Args:
        normalise: Module that normalises the pixels.
        backbone: Module that maps images to feature maps, or to features.
        head: Module from N x F x h x w, or from N x F, to N x D.
        views: 1 or 8.
        input_px: Side that images are resized to; None keeps their size.
        after: Module that is applied to the mean over views, such as a whitening.
    """

    def __init__(
        self,
        normalise: nn.Module,
        backbone: nn.Module,
        head: nn.Module,
        *,
        views: int,
        input_px: int | None = None,
        after: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.normalise, self.backbone, self.head = normalise, backbone, head
        self.views, self.input_px = views, input_px
        self.after = nn.Identity() if after is None else after

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return embeddings, N x D.

        Training uses one view, because the loader has rotated the images already.
        """
        if self.training:
            return self.one_view(images_NCHW)
        vectors_ND = self.one_view(images_NCHW) if self.views == 1 else self._mean(images_NCHW)
        return functional.normalize(in_float32(self.after, vectors_ND), dim=1)

    def _mean(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        rotated = torch.cat([rotated_view(images_NCHW, view) for view in range(self.views)])
        views_VND = self.one_view(rotated).view(self.views, len(images_NCHW), -1)
        return functional.normalize(views_VND.mean(0), dim=1)

    def one_view(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return embeddings of the images as they are, N x D, before `after` is applied."""
        return functional.normalize(self.features(images_NCHW), dim=1)

    def features(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return features before they are scaled to unit length, N x D.

        Losses take these, because some of them depend on the length.
        """
        inputs = self._sized(self.normalise(images_NCHW))
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        maps_NFhw = self.backbone(inputs)
        if self.training:
            features_ND: torch.Tensor = self.head(maps_NFhw)
            return features_ND
        return in_float32(self.head, maps_NFhw)

    def _sized(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        if self.input_px is None or images_NCHW.shape[2:] == (self.input_px, self.input_px):
            return images_NCHW
        return functional.interpolate(
            images_NCHW,
            (self.input_px, self.input_px),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )


class DeviationPool(nn.Module):
    """Compute the standard deviation of each feature over its map, N x F x h x w to N x F.

    Without training it finds edited copies better than the mean does, because the mean mostly
    describes stain and cells, which are similar everywhere.
    """

    def forward(self, features_NFhw: torch.Tensor) -> torch.Tensor:
        """Return the standard deviations, N x F."""
        return features_NFhw.std((2, 3), correction=0)


def trained_network(
    settings: EmbedderSettings, statistics: ChannelStatistics, backbone: Backbone
) -> EmbeddingNetwork:
    """Build the metric network of the HPA 2018 winner, or one with a simpler head, to be trained.

    The weights of the head are drawn with the seed of the training settings.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        head = _head(settings, 2 * backbone.features)
    return EmbeddingNetwork(
        Normalise(statistics),
        backbone.module,
        nn.Sequential(AvgMaxPool(), *head),
        views=settings.views,
        input_px=settings.input_px,
    )


def _head(settings: EmbedderSettings, in_features: int) -> nn.Sequential:
    if settings.head == "linear":
        return nn.Sequential(nn.Linear(in_features, settings.dimension))
    return winner_head(
        in_features, settings.hidden, settings.dimension, dropouts=DROPOUTS, last_batchnorm=True
    )


def frozen_network(
    settings: FrozenSettings, backbone: Backbone, after: nn.Module
) -> EmbeddingNetwork:
    """Build a network without a trained head."""
    return EmbeddingNetwork(
        NormaliseEach(),
        backbone.module,
        nn.Identity() if backbone.pooled else DeviationPool(),
        views=settings.views,
        input_px=settings.input_px,
        after=after,
    )


def foreign_network(
    settings: ForeignSettings, channels: tuple[str, ...], network: nn.Module, after: nn.Module
) -> EmbeddingNetwork:
    """Build a network around one that somebody else made.

    Args:
        settings: Its settings.
        channels: Names of the channels of the images.
        network: Module that maps prepared images to features, N x F.
        after: Module that is applied to the mean over views.
    """
    return EmbeddingNetwork(
        _prepared(settings.preparation, channels),
        network,
        nn.Identity(),
        views=settings.views,
        input_px=settings.preparation.size_px,
        after=after,
    )


def _prepared(preparation: Preparation, channels: tuple[str, ...]) -> nn.Module:
    """Return the module that chooses the channels for a network and scales them."""
    inputs = preparation.inputs
    chosen = [[float(name == channel) for channel in channels] for name in inputs]
    wanted = ChannelStatistics(mean_C=preparation.mean, std_C=preparation.deviation)
    return nn.Sequential(
        MixChannels(chosen), SCALES[preparation.scale](len(inputs)), Normalise(wanted)
    )
