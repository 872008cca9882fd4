"""A classifier over several views of each image. Axes: V views, N images, C channels, L labels."""

import torch
from torch import nn

from classify.prediction_settings import PredictionSettings
from engine.views import crops_of, turned_view


class OverViews(nn.Module):
    """uint8 N x C x H x W -> probabilities N x L, of all crops in all flips and turns.

    network: gives logits. One view of the batch passes it at a time, so memory is that of one.
    """

    def __init__(self, network: nn.Module, prediction: PredictionSettings) -> None:
        super().__init__()
        self.network, self.prediction = network, prediction

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        side_px = self.prediction.view_px or images_NCHW.shape[3]
        probabilities_VNL = torch.stack(
            [
                self.network(_laid_out(turned_view(crop, view))).float().sigmoid()
                for crop in crops_of(images_NCHW, self.prediction.crops, side_px)
                for view in range(self.prediction.views)
            ]
        )
        return combined(probabilities_VNL, self.prediction.combine)


def combined(probabilities_VNL: torch.Tensor, combine: str) -> torch.Tensor:
    """N x L; combine: as `PredictionSettings` has it. A median of an even number of views is the
    mean of the two in the middle."""
    if combine == "mean":
        return probabilities_VNL.mean(0)
    if combine == "max":
        return probabilities_VNL.amax(0)
    return torch.quantile(probabilities_VNL, 0.5, dim=0)


def _laid_out(images_NCHW: torch.Tensor) -> torch.Tensor:
    """As whole images lie: a turned one has its rows where columns were."""
    return images_NCHW.contiguous(memory_format=torch.channels_last)
