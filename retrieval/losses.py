"""Losses over classes of a cosine metric. Axes: N images, D dimensions."""

import math

import torch
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import nn
from torch.nn import functional

from atlas.errors import UserError


class MetricLoss(nn.Module):
    """ArcFace, and beside it the cross-entropy of the plain, unscaled cosines.

    loss = (1 - w) * ArcFace + w * plain, w = plain_cosine_weight; the winner of HPA 2018 averaged
    the two. The class vectors are parameters: they belong to the optimizer and the checkpoint.
    """

    def __init__(
        self,
        *,
        classes: int,
        dimension: int,
        scale: float,
        margin_radians: float,
        plain_cosine_weight: float,
    ) -> None:
        super().__init__()
        if not 0 <= plain_cosine_weight <= 1:
            raise UserError(f"plain_cosine_weight {plain_cosine_weight} is not in 0..1")
        self.plain_cosine_weight = plain_cosine_weight
        # The library counts the margin in degrees.
        self.arcface = ArcFaceLoss(
            num_classes=classes,
            embedding_size=dimension,
            margin=math.degrees(margin_radians),
            scale=scale,
        )

    def forward(self, embeddings_ND: torch.Tensor, classes_N: torch.Tensor) -> torch.Tensor:
        """Mean over the batch. Half precision is left: an angle near 0 needs all digits."""
        if embeddings_ND.dtype in (torch.float16, torch.bfloat16):
            embeddings_ND = embeddings_ND.float()
        with torch.autocast(embeddings_ND.device.type, enabled=False):
            loss: torch.Tensor = self.arcface(embeddings_ND, classes_N)
            if self.plain_cosine_weight == 0:
                return loss
            plain = plain_cosine_loss(self.arcface.get_cosine(embeddings_ND), classes_N)
            return (1 - self.plain_cosine_weight) * loss + self.plain_cosine_weight * plain


def plain_cosine_loss(cosines_NC: torch.Tensor, classes_N: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of cosines as they are, without scale and margin."""
    return functional.cross_entropy(cosines_NC, classes_N)
