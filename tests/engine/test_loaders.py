from pathlib import Path

import numpy as np
import pytest
import torch

from engine import loaders
from engine.loaders import EpochSampler, FieldDataset, training_loader, validation_loader
from engine.settings import TrainingSettings
from tests.engine.stores import tiny_store

TRAINING = TrainingSettings(epochs=2, batch_size=5, learning_rate=1e-3)


def batches(loader: torch.utils.data.DataLoader, epoch: int) -> list[list[torch.Tensor]]:
    loader.sampler.set_epoch(epoch)
    return [list(batch) for batch in loader]


def equal(one: list[list[torch.Tensor]], other: list[list[torch.Tensor]]) -> bool:
    return all(
        torch.equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_an_epoch_is_a_pure_function_of_seed_and_epoch(tmp_path: Path, channels: int) -> None:
    store = tiny_store(tmp_path, channels=channels)
    targets = torch.arange(12)
    first = training_loader(store, store.ids, targets, TRAINING)
    second = training_loader(store, store.ids, targets, TRAINING)
    batches(second, 0)  # what came before must not matter
    assert equal(batches(first, 3), batches(second, 3))
    assert not equal(batches(first, 3), batches(first, 4))


def test_targets_and_indices_go_with_their_images(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    targets = torch.arange(12) * 10
    for images, target, index in batches(training_loader(store, store.ids, targets, TRAINING), 1):
        assert images.dtype == torch.uint8
        assert torch.equal(target, index * 10)
        for image, n in zip(images, index, strict=True):
            original = store.read([store.ids[n]])[0]
            turns = [np.rot90(original, k, (1, 2)) for k in range(4)]
            turns += [turn[:, :, ::-1] for turn in turns]
            assert any(np.array_equal(image.numpy(), turn) for turn in turns)


def test_all_eight_turns_occur(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, count=1)
    dataset = FieldDataset(store, store.ids, torch.zeros(1), TRAINING)
    seen = {dataset[(0, epoch)][0].numpy().tobytes() for epoch in range(100)}
    assert len(seen) == 8


def test_validation_is_in_order_and_unturned(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    loader = validation_loader(store, store.ids, torch.arange(12), TRAINING)
    assert np.array_equal(
        torch.cat([images for images, _, _ in loader]).numpy(), store.read(store.ids)
    )


def test_a_store_too_large_for_memory_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tiny_store(tmp_path)
    held = training_loader(store, store.ids, torch.arange(12), TRAINING)
    monkeypatch.setattr(loaders, "MEMORY_BOUND_BYTES", 0)
    read = training_loader(store, store.ids, torch.arange(12), TRAINING)
    assert read.dataset.held_NCHW is None
    assert equal(batches(held, 2), batches(read, 2))


@pytest.mark.parametrize(("count", "used"), [(11, 10), (10, 10), (12, 12), (1, 1)])
def test_no_batch_holds_one_image(count: int, used: int) -> None:
    sampler = EpochSampler(count, batch_size=5, seed=0)
    assert len(sampler) == len(list(sampler)) == used


def test_over_epochs_every_image_is_seen() -> None:
    sampler = EpochSampler(11, batch_size=5, seed=0)
    seen = set()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        seen |= {index for index, _ in sampler}
    assert seen == set(range(11))
