"""Build losses and batches in double precision."""

import torch

from retrieval.losses.factory import build_loss
from retrieval.losses.metric_loss import MetricLoss
from retrieval.settings import TERMS, USES, LossSettings

CLASSES, DIMENSION = 5, 3
CLASS_VECTOR_LOSSES = tuple(name for name, used in USES.items() if set(TERMS) <= {*used})


def made_loss(
    settings: LossSettings, *, seed: int = 0, classes: int = CLASSES, dimension: int = DIMENSION
) -> MetricLoss:
    torch.manual_seed(seed)
    return build_loss(settings, classes=classes, dimension=dimension).double()


def with_vectors(settings: LossSettings, vectors_CD: torch.Tensor) -> MetricLoss:
    """Return a loss with the given class vectors."""
    loss = made_loss(settings, classes=vectors_CD.shape[0], dimension=vectors_CD.shape[1])
    with torch.no_grad():
        vectors_of(loss).copy_(vectors_CD)
    return loss


def vectors_of(loss: MetricLoss) -> torch.Tensor:
    assert loss.class_vectors_CD is not None
    return loss.class_vectors_CD


def made_batch(seed: int, images: int = 14) -> tuple[torch.Tensor, torch.Tensor]:
    """Features in three dimensions, where angles from 0 to pi all occur, and classes."""
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(images, DIMENSION, generator=random, dtype=torch.float64)
    return features, torch.randint(0, CLASSES, (images,), generator=random)
