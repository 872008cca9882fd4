"""Losses over pairs of images of a batch. Axes: N images, D dimensions, L labels."""

import torch
from pytorch_metric_learning.losses import MultipleLosses, MultiSimilarityLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch import nn
from torch.nn import functional


def multi_similarity() -> nn.Module:
    """Mined pairs, weighted by how they compare with the others.

    alpha 2, beta 50 and epsilon .1 are the paper's; base .5 is its authors' code's, for the
    paper's 1 hardly moves a negative pair below a cosine of .9.

    Source: Wang et al., Multi-Similarity Loss (2019), section 4.
    """
    loss: nn.Module = MultipleLosses(
        [MultiSimilarityLoss(alpha=2, beta=50, base=0.5)], miners=[MultiSimilarityMiner(0.1)]
    )
    return loss


class SupervisedContrastiveLoss(nn.Module):
    """Each image is to pick, among all others of the batch, those that share its labels.

    Image i costs - sum_p w_ip log softmax_p(cos_ip / temperature) / sum_p w_ip, over p != i. The
    mean is over images with any positive; a batch without any gives 0, with a gradient of 0.

    w_ip is 1 for equal classes and 0 for others; where targets are sets of labels, it is the
    Jaccard similarity of the two sets. With one label each both are the same.

    Source: Khosla et al., Supervised Contrastive Learning (2020), equation 2. The library has it
    for classes only.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, features_ND: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """targets: classes N, or labels N x L of 0 and 1."""
        itself_NN = torch.eye(len(features_ND), dtype=torch.bool, device=features_ND.device)
        weights_NN = _pair_weights(targets, features_ND.dtype).masked_fill(itself_NN, 0)
        unit_ND = functional.normalize(features_ND, dim=1)
        logits_NN = (unit_ND @ unit_ND.T / self.temperature).masked_fill(itself_NN, -torch.inf)
        # The image itself is -inf here, which times a weight of 0 would be nan.
        logs_NN = torch.log_softmax(logits_NN, dim=1).masked_fill(itself_NN, 0)
        total_N = weights_NN.sum(dim=1)
        paired = total_N > 0
        each = -(weights_NN * logs_NN).sum(dim=1)[paired] / total_N[paired]
        return each.sum() / paired.sum().clamp(min=1)


def _pair_weights(targets: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """N x N: 1 for equal classes; for label sets their Jaccard similarity, 0 for two empty ones."""
    if targets.ndim == 1:
        return (targets[:, None] == targets[None, :]).to(dtype)
    labels_NL = targets.to(dtype)
    both_NN = labels_NL @ labels_NL.T
    size_N = labels_NL.sum(dim=1)
    either_NN = size_N[:, None] + size_N[None, :] - both_NN
    return both_NN / either_NN.clamp(min=1)
