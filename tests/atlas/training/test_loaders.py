from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.core.errors import UserError
from atlas.training import loaders
from atlas.training.loaders import EpochBatches, FieldDataset, training_loader, validation_loader
from atlas.training.settings import TrainingSettings
from tests.atlas.training.processes import epoch_batches_of_two_processes
from tests.atlas.training.reference import all_rotations
from tests.atlas.training.stores import tiny_store

TRAINING = TrainingSettings(epochs=2, batch_size=5, learning_rate=1e-3)


def batches(loader: torch.utils.data.DataLoader, epoch: int) -> list[list[torch.Tensor]]:
    loader.batch_sampler.start(epoch)
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
    batches(second, 0)  # earlier epochs must not matter
    assert equal(batches(first, 3), batches(second, 3))
    assert not equal(batches(first, 3), batches(first, 4))


def test_targets_and_indices_match_their_images(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    targets = torch.arange(12) * 10
    for images, target, index in batches(training_loader(store, store.ids, targets, TRAINING), 1):
        assert images.dtype == torch.uint8
        assert torch.equal(target, index * 10)
        for image, n in zip(images, index, strict=True):
            original = store.read([store.ids[n]])[0]
            assert any(
                np.array_equal(image.numpy(), rotation) for rotation in all_rotations(original)
            )


def test_an_image_that_is_shown_again_is_augmented_again(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, count=1)
    dataset = FieldDataset(store, store.ids, torch.zeros(1), TRAINING)
    seen = {dataset[(0, 0, repeat)][0].numpy().tobytes() for repeat in range(100)}
    assert len(seen) == 8


def test_validation_is_in_order_and_not_augmented(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    loader = validation_loader(store, store.ids, torch.arange(12), TRAINING)
    assert np.array_equal(
        torch.cat([images for images, _, _ in loader]).numpy(), store.read(store.ids)
    )


def test_training_sees_random_crops_and_validation_the_middle(tmp_path: Path) -> None:
    store, training = tiny_store(tmp_path), replace(TRAINING, crop_px=20, augmentation="none")
    fields = store.read(store.ids)
    validated = [images for images, _, _ in validation_loader(
        store, store.ids, torch.arange(12), training
    )]  # fmt: skip
    assert np.array_equal(torch.cat(validated).numpy(), fields[:, :, 6:26, 6:26])
    loader = training_loader(store, store.ids, torch.arange(12), training)
    for images, _, index in batches(loader, 0):
        for image, n in zip(images.numpy(), index, strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(fields[n], (20, 20), axis=(1, 2))
            assert (windows.transpose(1, 2, 0, 3, 4) == image).all((2, 3, 4)).any()
    assert not equal(batches(loader, 0), batches(loader, 1))


def test_crops_larger_than_the_stored_images_are_refused(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    with pytest.raises(UserError, match="crops of 33 px are larger than the stored images of 32"):
        training_loader(store, store.ids, torch.arange(12), replace(TRAINING, crop_px=33))


def test_a_store_too_large_for_memory_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tiny_store(tmp_path)
    held = training_loader(store, store.ids, torch.arange(12), TRAINING)
    monkeypatch.setattr(loaders, "MEMORY_BOUND_BYTES", 0)
    read = training_loader(store, store.ids, torch.arange(12), TRAINING)
    assert read.dataset.held_NCHW is None
    assert equal(batches(held, 2), batches(read, 2))


@pytest.mark.parametrize(("count", "batches"), [(11, 2), (10, 2), (12, 3), (2, 1)])
def test_no_batch_holds_one_image(count: int, batches: int) -> None:
    sampler = EpochBatches(torch.arange(count), TRAINING)
    assert len(sampler) == len(list(sampler)) == batches
    assert min(map(len, sampler)) > 1


def test_one_image_alone_cannot_train() -> None:
    with pytest.raises(UserError, match="at least 2"):
        EpochBatches(torch.arange(1), TRAINING)


def test_classes_without_images_cannot_be_balanced() -> None:
    with pytest.raises(UserError, match="no image carries a label"):
        EpochBatches(torch.zeros(12, 3), replace(TRAINING, sampler="balanced"))


def test_over_epochs_every_image_is_seen() -> None:
    sampler = EpochBatches(torch.arange(11), TRAINING)
    seen = set()
    for epoch in range(20):
        sampler.start(epoch)
        seen |= {index for batch in sampler for index, _, _ in batch}
    assert seen == set(range(11))


@pytest.mark.parametrize("sampler", ["shuffled", "balanced", "m_per_class"])
def test_an_epoch_is_resumed_after_the_batches_that_are_done(sampler: str) -> None:
    training = replace(TRAINING, sampler=sampler, images_per_class=2)
    batches = EpochBatches(torch.arange(24) % 5, training)
    batches.start(3)
    whole = list(batches)
    for done in range(len(whole) + 1):
        batches.start(3, done)
        assert list(batches) == whole[done:]
        assert len(batches) == len(whole)  # the length is still that of the whole epoch


def test_balanced_labels_reach_the_loader(tmp_path: Path) -> None:
    """One of 12 images has the second label. Half of the epoch shows it, augmented differently."""
    store = tiny_store(tmp_path)
    targets = torch.tensor([[1.0, 0.0]] * 11 + [[0.0, 1.0]])
    loader = training_loader(store, store.ids, targets, replace(TRAINING, sampler="balanced"))
    rare = [image.numpy().tobytes() for images, _, n in loader for image in images[n == 11]]
    assert len(rare) == 6
    assert len(set(rare)) > 1


@pytest.mark.slow
def test_two_processes_share_an_epoch_without_overlap() -> None:
    """One process has 5 batches; of two processes, each gets two."""
    targets = torch.arange(24)
    alone = EpochBatches(targets, TRAINING)
    alone.start(2)
    whole = list(alone)
    first, second = epoch_batches_of_two_processes(targets, TRAINING, epoch=2)
    assert len(whole) == 5
    assert (first, second) == (whole[0:4:2], whole[1:4:2])
