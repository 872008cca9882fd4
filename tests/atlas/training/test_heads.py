import torch
from torch import nn

from atlas.training.layers import AvgMaxPool, winner_head


def test_average_and_maximum_stand_side_by_side() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, -4.0]]]])
    assert AvgMaxPool()(features).tolist() == [[3.0, -1.0, 6.0, 0.0]]


def test_the_head_has_the_winners_layers() -> None:
    head = winner_head(8, 6, 4, dropouts=(0.25, 0.5), last_batchnorm=True)
    kinds = [type(layer) for layer in head]
    assert kinds == [
        nn.BatchNorm1d, nn.Dropout, nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout, nn.Linear,
        nn.BatchNorm1d,
    ]  # fmt: skip
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [0.25, 0.5]
    assert head(torch.randn(3, 8)).shape == (3, 4)


def test_the_classifiers_head_ends_in_logits() -> None:
    head = winner_head(8, 6, 4, dropouts=(0.5, 0.5), last_batchnorm=False)
    assert isinstance(head[-1], nn.Linear)
