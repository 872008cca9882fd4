"""Losses over classes that the library lacks. Axes: N images, D dimensions.

Like the library's, they take features as the head gives them and the class of each image, and
keep their class vectors as `W`, D x classes.
"""

import math
from functools import partial

import torch
from pytorch_metric_learning import losses as library
from torch import nn
from torch.nn import functional

from retrieval.losses.metric_loss import angles


class SoftmaxLoss(nn.Module):
    """Cross-entropy of a linear layer with bias, on features of any length."""

    def __init__(self, *, classes: int, dimension: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dimension, classes)

    @property
    def W(self) -> torch.Tensor:
        return self.linear.weight.T

    def forward(self, features_ND: torch.Tensor, classes_N: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(self.linear(features_ND), classes_N)


class FiniteAngles:
    """A loss of the library whose gradients stay finite where a cosine reaches 1 or -1."""

    def get_angles(self, cosines_N: torch.Tensor) -> torch.Tensor:
        return angles(cosines_N)


class ArcFace(FiniteAngles, library.ArcFaceLoss):  # type: ignore[misc]
    """The library's ArcFace with finite gradients."""


class SubCenterArcFace(FiniteAngles, library.SubCenterArcFaceLoss):  # type: ignore[misc]
    """The library's ArcFace of several sub-centres with finite gradients."""


class LargeMarginSoftmax(FiniteAngles, library.LargeMarginSoftmaxLoss):  # type: ignore[misc]
    """|W| |x| cos(m t) on the true class, falling on beyond pi, and |W| |x| cos t elsewhere.

    The library's expansion of cos(m t) into powers takes whole m alone, and is built in a way that
    NumPy is about to refuse: this says it by angles. Class vectors start as a linear layer's do;
    the library's start at length sqrt(D), and lengths count here: logits would be in the hundreds.

    Source: Liu et al., Large-Margin Softmax (2016), equations 4 to 6.
    """

    def __init__(self, *, classes: int, dimension: int, angle_factor: float) -> None:
        start = partial(nn.init.uniform_, a=-(dimension**-0.5), b=dimension**-0.5)
        super().__init__(classes, dimension, margin=angle_factor, weight_init_func=start)

    def init_margin(self) -> None:
        """There are no powers to prepare."""

    def cast_types(self, dtype: torch.dtype, device: torch.device) -> None:
        """Nor to move; class vectors are where the module is."""

    def modify_cosine_of_target_classes(self, cosines_N: torch.Tensor) -> torch.Tensor:
        return falling_cosine(self.margin * self.get_angles(cosines_N))


class CombinedMarginLoss(ArcFace):
    """s (cos(m1 t + m2) - m3) on the true class and s cos t elsewhere, of unit vectors.

    m1, m2, m3: angle_factor, margin_radians, margin_cosine. Beyond pi a cosine would rise again
    and reward the worst: there it continues falling, in m1 by SphereFace's own extension and in m2
    as the library's ArcFace does, cos(m1 t) - m2 sin(m2).

    Source: Deng et al., ArcFace (2019), equation 4.
    """

    def __init__(
        self,
        *,
        classes: int,
        dimension: int,
        scale: float,
        angle_factor: float,
        margin_radians: float,
        margin_cosine: float,
    ) -> None:
        # The library counts the margin in degrees.
        super().__init__(classes, dimension, margin=math.degrees(margin_radians), scale=scale)
        self.angle_factor, self.margin_cosine = angle_factor, margin_cosine

    def modify_cosine_of_target_classes(self, cosines_N: torch.Tensor) -> torch.Tensor:
        rotated_N = self.angle_factor * self.get_angles(cosines_N)
        widened_N = rotated_N + self.margin
        beyond_N = falling_cosine(rotated_N) - self.margin * math.sin(self.margin)
        within = widened_N <= math.pi
        return torch.where(within, torch.cos(widened_N), beyond_N) - self.margin_cosine


def falling_cosine(angles_N: torch.Tensor) -> torch.Tensor:
    """Cosine up to pi, then on downwards without a jump: (-1)^k cos(t) - 2k, k = floor(t / pi).

    Source: Liu et al., SphereFace (2017), equation 7; its factor m is in t here, and need not be a
    whole number.
    """
    half_rotations = torch.floor(angles_N / math.pi)
    return (1 - 2 * (half_rotations % 2)) * torch.cos(angles_N) - 2 * half_rotations
