"""Losses over pairs of images of a batch.

Axes: N images, D dimensions, L labels.
"""

import torch
from pytorch_metric_learning.losses import MultipleLosses, MultiSimilarityLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch import nn
from torch.nn import functional

LEAST_DISTANCE = 1e-4  # its logarithm stays finite where two embeddings are equal


def multi_similarity() -> nn.Module:
    """Return the multi-similarity loss, which mines pairs and weights them by their difficulty.

    The parameters alpha = 2, beta = 50 and epsilon = 0.1 are those of the paper. The base of 0.5 is
    that of the authors' code; with the paper's base of 1, a negative pair below a cosine similarity
    of 0.9 has almost no gradient.

    Source: Wang et al., Multi-Similarity Loss (2019), section 4.
    """
    loss: nn.Module = MultipleLosses(
        [MultiSimilarityLoss(alpha=2, beta=50, base=0.5)], miners=[MultiSimilarityMiner(0.1)]
    )
    return loss


class SupervisedContrastiveLoss(nn.Module):
    """Compute the supervised contrastive loss for classes or for sets of labels.

    For each image i, the loss is - sum_p w_ip log softmax_p(cos_ip / temperature) / sum_p w_ip over
    all p != i. The mean is taken over images with at least one positive; a batch without any gives
    0, with a gradient of 0.

    The weight w_ip is 1 for equal classes and 0 for others. For sets of labels it is the Jaccard
    similarity of the two sets. Both definitions agree where each image has one label.

    With an entropy weight, the entropy term is added, see `entropy_term`.

    Source: Khosla et al., Supervised Contrastive Learning (2020), equation 2.
    pytorch-metric-learning implements it for classes only.

    Args:
        temperature: Divisor of the cosine similarities.
        entropy_weight: Weight of the entropy term.
    """

    def __init__(self, temperature: float, entropy_weight: float = 0.0) -> None:
        super().__init__()
        self.temperature, self.entropy_weight = temperature, entropy_weight

    def forward(self, features_ND: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            features_ND: Features of any length.
            targets: Classes, N, or labels as 0 and 1, N x L.
        """
        itself_NN = torch.eye(len(features_ND), dtype=torch.bool, device=features_ND.device)
        weights_NN = _pair_weights(targets, features_ND.dtype).masked_fill(itself_NN, 0)
        unit_ND = functional.normalize(features_ND, dim=1)
        logits_NN = (unit_ND @ unit_ND.T / self.temperature).masked_fill(itself_NN, -torch.inf)
        # The image itself has -inf here, and -inf times a weight of 0 would be NaN.
        logs_NN = torch.log_softmax(logits_NN, dim=1).masked_fill(itself_NN, 0)
        total_N = weights_NN.sum(dim=1)
        paired = total_N > 0
        each = -(weights_NN * logs_NN).sum(dim=1)[paired] / total_N[paired]
        loss: torch.Tensor = each.sum() / paired.sum().clamp(min=1)
        if self.entropy_weight > 0:
            loss = loss + self.entropy_weight * entropy_term(unit_ND, weights_NN > 0)
        return loss


def entropy_term(unit_ND: torch.Tensor, positive_NN: torch.Tensor) -> torch.Tensor:
    """Return how unevenly embeddings of unit length cover the sphere, a scalar.

    It is the mean of - log d over all images, where d is the distance to the nearest image of
    another class (Sablayrolles et al., Spreading Vectors for Similarity Search, 2019). It keeps the
    similarity of images that are no copies equally low everywhere, so that one threshold holds for
    all of them. An image without any image of another class is left out.

    Source: Pizzi et al., A Self-Supervised Descriptor for Image Copy Detection (2022), section 4.2.

    Args:
        unit_ND: Embeddings of unit length.
        positive_NN: Which pairs are of one class. The diagonal is ignored.
    """
    itself_NN = torch.eye(len(unit_ND), dtype=torch.bool, device=unit_ND.device)
    excluded_NN = positive_NN | itself_NN
    nearest_N = (unit_ND @ unit_ND.T).masked_fill(excluded_NN, -1).argmax(dim=1)
    apart_N = torch.linalg.vector_norm(unit_ND - unit_ND[nearest_N], dim=1)
    has_other_N = ~excluded_NN.all(dim=1)
    each_N = -torch.log(apart_N + LEAST_DISTANCE)[has_other_N]
    return each_N.sum() / has_other_N.sum().clamp(min=1)


def _pair_weights(targets: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the weights of pairs, N x N.

    They are 1 for equal classes. For sets of labels they are the Jaccard similarity, which is 0 for
    two empty sets.
    """
    if targets.ndim == 1:
        return (targets[:, None] == targets[None, :]).to(dtype)
    labels_NL = targets.to(dtype)
    both_NN = labels_NL @ labels_NL.T
    size_N = labels_NL.sum(dim=1)
    either_NN = size_N[:, None] + size_N[None, :] - both_NN
    return both_NN / either_NN.clamp(min=1)
