"""A named loss with the terms added to it. Axes: N images, D dimensions, C classes, L labels."""

import torch
from torch import nn

from atlas.core.errors import UserError
from retrieval.losses.angular_terms import angular_triplet, inter, intra, plain_cosine
from retrieval.settings import LossSettings


class MetricLoss(nn.Module):
    """(1 - p) named + p plain cosine + a intra + b inter + c triplet; the weights are settings'.

    Class vectors are parameters: they belong to the optimizer and the checkpoint. Made by
    `choose.build_loss`, which refuses settings that the named loss cannot honour.
    """

    def __init__(self, named: nn.Module, settings: LossSettings) -> None:
        super().__init__()
        self.named, self.settings = named, settings
        self.triplet = angular_triplet(settings.triplet_margin_radians)

    @property
    def class_vectors_CD(self) -> torch.Tensor | None:
        """C x D, of any length; None where the loss has none.

        subcenter_arcface has C*K, the sub-centres of a class one after the other.
        """
        vectors_DC: torch.Tensor | None = getattr(self.named, "W", None)
        return None if vectors_DC is None else vectors_DC.T

    def forward(self, features_ND: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean over the batch. Half precision is left: an angle near 0 needs all digits.

        features_ND: the head's output, of any length.
        targets: classes N; supervised_contrastive also takes labels N x L of 0 and 1.

        Raises UserError for labels that the named loss cannot take.
        """
        self._check(targets)
        if features_ND.dtype in (torch.float16, torch.bfloat16):
            features_ND = features_ND.float()
        with torch.autocast(features_ND.device.type, enabled=False):
            named: torch.Tensor = self.named(features_ND, targets)
            loss = (1 - self.settings.plain_cosine_weight) * named
            return self._with_angular_terms(loss, features_ND, targets)

    def _with_angular_terms(
        self, loss: torch.Tensor, features_ND: torch.Tensor, classes_N: torch.Tensor
    ) -> torch.Tensor:
        given = self.settings
        for weight, term in (
            (given.plain_cosine_weight, plain_cosine),
            (given.intra_weight, intra),
            (given.inter_weight, inter),
        ):
            if weight > 0:
                loss = loss + weight * term(features_ND, self._vectors_CKD(), classes_N)
        if given.triplet_weight > 0:
            loss = loss + given.triplet_weight * self.triplet(features_ND, classes_N)
        return loss

    def _vectors_CKD(self) -> torch.Tensor:
        vectors_CD = self.class_vectors_CD
        assert vectors_CD is not None, "terms need class vectors, which build_loss sees to"
        subcenters = self.settings.subcenters if self.settings.name == "subcenter_arcface" else 1
        return vectors_CD.reshape(-1, subcenters, vectors_CD.shape[1])

    def _check(self, targets: torch.Tensor) -> None:
        if targets.ndim != 1 and self.settings.name != "supervised_contrastive":
            raise UserError(
                f"{self.settings.name} takes one class per image, not a set of labels; "
                "the loss for label sets is supervised_contrastive"
            )
