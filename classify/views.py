"""What a classifier gives for an image: probabilities over crops and views, or features.

In both cases, views of an image pass the body of the network, which ends with pooled maps, and its
head follows. Another runtime may run the body, see `classify.exported`.

Axes: V views, N images, C channels, H x W pixels, h x w pixels of a view, F pooled features, L
labels, D features.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional

from atlas.training.layers import crops_of, rotated_view
from classify.networks.base import ClassifierNetwork
from classify.settings import PredictionSettings


class Body(nn.Module):
    """Map uint8 images N x C x h x w to the pooled maps of a classifier, N x F."""

    def __init__(self, network: ClassifierNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_NChw: torch.Tensor) -> torch.Tensor:
        """Return pooled maps, N x F."""
        return self.network.pooled(self.network.maps(images_NChw))


class Outputs(nn.Module, ABC):
    """Map uint8 images N x C x H x W to what a classifier gives for them.

    One view of the batch passes the body at a time, to limit memory.

    Args:
        network: The network of the classifier, whose layers are shared.
        prediction: The views of an image.
    """

    def __init__(self, network: ClassifierNetwork, prediction: PredictionSettings) -> None:
        super().__init__()
        self.body, self.prediction = Body(network), prediction

    @property
    def view_count(self) -> int:
        """The number of views of an image."""
        return self.prediction.crops * self.prediction.views

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the outputs of images."""
        return self.of_pooled([self.body(_laid_out(view)) for view in self.views(images_NCHW)])

    def views(self, images_NCHW: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield every crop of square images in every flip and rotation, N x C x h x w each."""
        side_px = self.prediction.view_px or images_NCHW.shape[3]
        for crop in crops_of(images_NCHW, self.prediction.crops, side_px):
            for view in range(self.prediction.views):
                yield rotated_view(crop, view)

    @abstractmethod
    def of_pooled(self, pooled_VNF: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the outputs of images from the pooled maps of their views."""


class Probabilities(Outputs):
    """Map uint8 images N x C x H x W to probabilities N x L, combined over all views."""

    def of_pooled(self, pooled_VNF: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return probabilities, N x L."""
        logits_VNL = torch.stack([self.body.network.logits(one) for one in pooled_VNF])
        return combined(logits_VNL.float().sigmoid(), self.prediction.combine)


class Features(Outputs):
    """Map uint8 images N x C x H x W to the input of the last Linear layer, N x D of unit length.

    Args:
        network: The network of the classifier, whose layers are shared.
        crop_px: Side of the central crop; None uses whole images.
    """

    def __init__(self, network: ClassifierNetwork, *, crop_px: int | None = None) -> None:
        super().__init__(network, PredictionSettings(view_px=crop_px))

    def of_pooled(self, pooled_VNF: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return features of unit length, N x D."""
        (pooled_NF,) = pooled_VNF
        return functional.normalize(self.body.network.last_layer_input(pooled_NF), dim=1)


def combined(probabilities_VNL: torch.Tensor, combine: str) -> torch.Tensor:
    """Combine the probabilities of views as `PredictionSettings` says, N x L.

    The median of an even number of views is the mean of the middle two.

    Example:
        >>> views = torch.tensor([[[0.25]], [[0.75]], [[1.0]]])
        >>> combined(views, "median").item()
        0.75
    """
    if combine == "mean":
        return probabilities_VNL.mean(0)
    if combine == "max":
        return probabilities_VNL.amax(0)
    return torch.quantile(probabilities_VNL, 0.5, dim=0)


def _laid_out(images_NCHW: torch.Tensor) -> torch.Tensor:
    """Return images in the memory layout of whole images; a rotated view has another one."""
    return images_NCHW.contiguous(memory_format=torch.channels_last)
