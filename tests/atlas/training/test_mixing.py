"""Epochs that mix external images in: examples computed by hand, and properties of any mixture."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlas.core.errors import UserError
from atlas.training.loaders import EpochBatches
from atlas.training.samplers import ExternalShare
from atlas.training.settings import TrainingSettings

TRAINING = TrainingSettings(epochs=2, batch_size=5, learning_rate=1e-3)


def shown(targets: Any, external: list[bool], share: float, *, epoch: int = 0, **training: Any):
    batches = EpochBatches(
        torch.as_tensor(targets),
        replace(TRAINING, **training),
        ExternalShare(external_N=np.array(external, bool), share=share),
    )
    batches.start(epoch)
    return [index for batch in batches for index, _, _ in batch]


@given(
    own=st.integers(2, 30),
    added=st.integers(1, 30),
    share=st.floats(0.1, 0.8),
    epoch=st.integers(0, 3),
)
def test_own_images_come_once_and_external_ones_fill_the_share(
    own: int, added: int, share: float, epoch: int
) -> None:
    order = shown([0] * (own + added), [False] * own + [True] * added, share, epoch=epoch)
    counts = Counter(order)
    dropped = len(order) % 5 == 0  # a last batch of one image may have been dropped
    of_own = [counts[n] for n in range(own)]
    assert set(of_own) <= ({0, 1} if dropped else {1})
    of_added = [counts[n] for n in range(own, own + added)]
    assert max(of_added) - min(of_added) <= 1 + dropped
    assert abs(sum(of_added) - own * share / (1 - share)) <= 0.5 + dropped


def test_external_images_change_from_epoch_to_epoch() -> None:
    """An epoch shows 10 own images and 10 of 90 external ones. Over 90 epochs all 90 appear."""
    external = [False] * 10 + [True] * 90
    seen: set[int] = set()
    for epoch in range(90):
        order = shown([0] * 100, external, 0.5, epoch=epoch)
        assert sorted(n for n in order if n < 10) == list(range(10))
        assert len(order) == 20
        seen |= set(order)
    assert seen == set(range(100))


def test_balanced_draws_each_origin_by_its_own_labels() -> None:
    """9 own images have label 0 and 3 have label 1; 5 external ones have label 1 and 1 has label 2.

    An epoch draws 12 images of each origin.
    """
    labels = [0] * 9 + [1] * 3 + [1] * 5 + [2]
    order = shown(labels, [False] * 12 + [True] * 6, 0.5, sampler="balanced")
    drawn = Counter((n >= 12, labels[n]) for n in order)
    assert drawn == {(False, 0): 6, (False, 1): 6, (True, 1): 6, (True, 2): 6}


def test_a_mixed_epoch_is_resumable_and_follows_from_seed_and_epoch() -> None:
    targets = torch.zeros(24)
    external = ExternalShare(external_N=np.arange(24) % 2 == 0, share=0.4)
    batches = EpochBatches(targets, TRAINING, external)
    batches.start(3)
    whole = list(batches)
    origins = [bool(external.external_N[index]) for batch in whole for index, _, _ in batch]
    assert len(set(origins[:8])) == 2
    for done in range(len(whole) + 1):
        batches.start(3, done)
        assert list(batches) == whole[done:]
    assert list(EpochBatches(targets, replace(TRAINING, seed=1), external)) != whole


@pytest.mark.parametrize(("external", "table"), [([True] * 6, "train"), ([False] * 6, "external")])
def test_an_external_share_without_images_is_refused(external: list[bool], table: str) -> None:
    with pytest.raises(UserError, match=rf"no image of {table}\.csv"):
        shown([0] * 6, external, 0.5)


def test_external_images_without_labels_cannot_be_balanced() -> None:
    labels_NL = [[1, 0]] * 3 + [[0, 0]] * 3
    with pytest.raises(UserError, match="no image carries a label"):
        shown(labels_NL, [False] * 3 + [True] * 3, 0.5, sampler="balanced")
