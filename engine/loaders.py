"""Batches of stored fields. Axes: C channels, H x W pixels, N images.

The order of images and the augmentation of each are pure functions of (seed, epoch, image id), so
that a run that is resumed sees what it would have seen.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from atlas.store import ImageStore
from engine.settings import TrainingSettings

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network at import otherwise
import albumentations

MEMORY_BOUND_BYTES = 2 * 1024**3

Sample = tuple[torch.Tensor, torch.Tensor, int]
Place = tuple[int, int]  # (index, epoch): where in the ids, and when


class FieldDataset(Dataset[Sample]):
    """Fields with their targets.

    Item (index, epoch) is (uint8 C x H x W, target, index). Stores of at most 2 GiB are held in
    memory; of larger ones each batch is read as it is asked for.
    """

    def __init__(
        self,
        store: ImageStore,
        ids: Sequence[str],
        targets: torch.Tensor,
        training: TrainingSettings,
        *,
        augment: bool = True,
    ) -> None:
        if len(ids) != len(targets):
            raise ValueError(f"{len(ids)} ids but {len(targets)} targets")
        self.store, self.ids, self.targets, self.training = store, tuple(ids), targets, training
        self.turns = None
        if augment and training.augmentation == "d4":
            self.turns = albumentations.Compose([albumentations.D4(p=1)])
        bytes_each = len(store.channels) * store.size_px**2
        in_memory = bytes_each * len(self.ids) <= MEMORY_BOUND_BYTES
        self.held_NCHW = store.read(self.ids) if in_memory else None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: Place) -> Sample:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[Place]) -> list[Sample]:
        """A whole batch: torch's loader asks for it so, and the store reads it at once."""
        fields = self._read([index for index, _ in places])
        return [
            (self._turned(field, index, epoch), self.targets[index], index)
            for field, (index, epoch) in zip(fields, places, strict=True)
        ]

    def _read(self, indices: list[int]) -> NDArray[np.uint8]:
        if self.held_NCHW is not None:
            return self.held_NCHW[indices]
        return self.store.read([self.ids[index] for index in indices])

    def _turned(self, field_CHW: NDArray[np.uint8], index: int, epoch: int) -> torch.Tensor:
        if self.turns is None:
            return torch.from_numpy(field_CHW)
        self.turns.set_random_seed(seed_of(self.training.seed, epoch, self.ids[index]))
        turned_HWC = self.turns(image=field_CHW.transpose(1, 2, 0))["image"]
        return torch.from_numpy(np.ascontiguousarray(turned_HWC.transpose(2, 0, 1)))


class EpochSampler(Sampler[Place]):
    """Every image once an epoch, in an order drawn from (seed, epoch).

    Lightning calls set_epoch. Where the last batch would hold one image, that image is left out
    of the epoch: BatchNorm cannot learn from one.
    """

    def __init__(self, count: int, *, batch_size: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0
        self.used = count - 1 if count > 1 and count % batch_size == 1 else count

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.used

    def __iter__(self) -> Iterator[Place]:
        order = np.random.default_rng(seed_of(self.seed, self.epoch)).permutation(self.count)
        return ((int(index), self.epoch) for index in order[: self.used])


class InOrder(Sampler[Place]):
    """Every image once, in the order of the ids, always alike: for validation."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Place]:
        return ((index, 0) for index in range(self.count))


def training_loader(
    store: ImageStore, ids: Sequence[str], targets: torch.Tensor, training: TrainingSettings
) -> DataLoader[Sample]:
    """Shuffled and augmented batches of (uint8 N x C x H x W, targets N x ..., indices N)."""
    dataset = FieldDataset(store, ids, targets, training, augment=True)
    sampler = EpochSampler(len(dataset), batch_size=training.batch_size, seed=training.seed)
    return DataLoader(dataset, batch_size=training.batch_size, sampler=sampler)


def validation_loader(
    store: ImageStore, ids: Sequence[str], targets: torch.Tensor, training: TrainingSettings
) -> DataLoader[Sample]:
    """The same without augmentation, in the order of ids."""
    dataset = FieldDataset(store, ids, targets, training, augment=False)
    return DataLoader(dataset, batch_size=training.batch_size, sampler=InOrder(len(dataset)))


def seed_of(*parts: int | str) -> int:
    """A number below 2**32 that depends on every part, alike on every machine."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big")
