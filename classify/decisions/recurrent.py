"""Combine members with a small recurrent network that reads the labels one after another.

For each image, the network goes through the classes in both directions and reads what every member
says of each class. It remembers what it has read, so one label can support another. Its output is
added to the mean logit of the class and starts at 0.

Axes: M members, N rows that are learned from, Q queried rows, C classes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classify.decisions.layers import Combiner, Floats, Labels, Probabilities, logits

HIDDEN, CLASS_NUMBERS = 16, 8
EPOCHS, BATCH, RATE = 6, 128, 5e-3
ASKED_AT_ONCE = 4096


class LabelReader(nn.Module):
    """Map the logits of members, N x C x M, to logits, N x C."""

    def __init__(self, members: int, classes: int) -> None:
        super().__init__()
        self.of_class = nn.Parameter(0.1 * torch.randn(classes, CLASS_NUMBERS))
        self.reader = nn.GRU(members + CLASS_NUMBERS, HIDDEN, batch_first=True, bidirectional=True)
        self.added = nn.Linear(2 * HIDDEN, 1)
        nn.init.zeros_(self.added.weight)
        self.slope_C = nn.Parameter(torch.ones(classes))
        self.offset_C = nn.Parameter(torch.zeros(classes))

    def forward(self, logits_NCM: Tensor) -> Tensor:
        """Return combined logits, N x C."""
        of_class = self.of_class.expand(len(logits_NCM), -1, -1)
        read, _ = self.reader(torch.cat([logits_NCM / 4, of_class], dim=2))  # to about -1..1
        added_NC: Tensor = self.added(read)[:, :, 0]
        return self.slope_C * logits_NCM.mean(dim=2) + self.offset_C + added_NC


def fit_recurrent(members_MNC: Probabilities, truth_NC: Labels, *, seed: int) -> Combiner:
    """Fit the network by cross-entropy with AdamW and a cosine schedule.

    It runs on the CPU, where the same seed gives the same network.
    """
    inputs = torch.from_numpy(_read(members_MNC))
    truth = torch.from_numpy(truth_NC.astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LabelReader(inputs.shape[2], inputs.shape[1])
        _train(network, inputs, truth)

    @torch.no_grad()
    def combine(asked_MQC: Probabilities) -> Floats:
        asked = torch.from_numpy(_read(asked_MQC))
        said = [network(asked[part]).sigmoid() for part in _parts(len(asked), ASKED_AT_ONCE)]
        return np.asarray(torch.cat(said).numpy())

    return Combiner(combine=combine)


def _train(network: LabelReader, inputs: Tensor, truth: Tensor) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    steps = EPOCHS * -(-len(inputs) // BATCH)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    loss = nn.BCEWithLogitsLoss()
    for _ in range(EPOCHS):
        order = torch.randperm(len(inputs))
        for part in _parts(len(inputs), BATCH):
            rows = order[part]
            optimizer.zero_grad()
            loss(network(inputs[rows]), truth[rows]).backward()
            optimizer.step()
            rate.step()
    network.eval()


def _parts(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _read(members_MQC: Probabilities) -> NDArray[np.float32]:
    return np.ascontiguousarray(logits(members_MQC).transpose(1, 2, 0), np.float32)
