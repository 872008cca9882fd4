"""Batches of stored images.

The order of images and the augmentation of each one depend on (seed, epoch, image id) alone, so a
resumed run sees the same images as one that was not stopped.

Axes: C channels, H x W pixels, N images, L labels.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from atlas.core.errors import UserError
from atlas.core.timing import stage
from atlas.dataset.store import ImageStore
from atlas.training.augmentation import Augment, middle, with_part_of
from atlas.training.samplers import (
    ExternalShare,
    epoch_batches,
    members_to_draw,
    mixed_batches,
    pools_of,
    repeats,
)
from atlas.training.settings import TrainingSettings

MEMORY_BOUND_BYTES = 2 * 1024**3
LOADING, LOADING_HELD_OUT = "loading batches", "loading held-out batches"  # names of stages

Sample = tuple[torch.Tensor, torch.Tensor, int]
Place = tuple[int, int, int]  # index in the ids, epoch, how often the epoch has shown it before


class FieldDataset(Dataset[Sample]):
    """Images with their targets.

    The item (index, epoch, repeat) is (uint8 C x H x W, target, index). If the settings ask for
    crops, training sees a random window and validation the central one. A store of at most 2 GiB is
    held in memory; of a larger store, each batch is read when it is needed.
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
        crop_px = training.crop_px
        if crop_px is not None and crop_px > store.size_px:
            raise UserError(
                f"crops of {crop_px} px are larger than the stored images of {store.size_px} px"
            )
        self.store, self.ids, self.targets, self.seed = store, tuple(ids), targets, training.seed
        self.augment = Augment(training.augmentation, crop_px=crop_px) if augment else None
        self.mixed = augment and training.augmentation == "copies"
        self.crop_px = crop_px
        bytes_each = len(store.channels) * store.size_px**2
        in_memory = bytes_each * len(self.ids) <= MEMORY_BOUND_BYTES
        self.held_NCHW = store.read(self.ids) if in_memory else None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: Place) -> Sample:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[Place]) -> list[Sample]:
        """Return the samples of a whole batch, which the store reads in one call."""
        indices = [index for index, _, _ in places]
        with stage(LOADING if self.augment else LOADING_HELD_OUT, items=len(places)):
            shown = list(map(self._shown, self._read(indices), places))
            if self.mixed:
                shown = [
                    with_part_of(field, shown[:n] + shown[n + 1 :], self._seed(place) + 1)
                    for n, (field, place) in enumerate(zip(shown, places, strict=True))
                ]
            return [
                (torch.from_numpy(field), self.targets[index], index)
                for field, index in zip(shown, indices, strict=True)
            ]

    def _shown(self, field: NDArray[np.uint8], place: Place) -> NDArray[np.uint8]:
        if self.augment is None:
            return middle(field, self.crop_px)
        return self.augment(field, self._seed(place))

    def _read(self, indices: list[int]) -> NDArray[np.uint8]:
        if self.held_NCHW is not None:
            return self.held_NCHW[indices]
        return self.store.read([self.ids[index] for index in indices])

    def _seed(self, place: Place) -> int:
        index, epoch, repeat = place
        again = (repeat,) if repeat else ()
        return seed_of(self.seed, epoch, self.ids[index], *again)


class EpochBatches(Sampler[list[Place]]):
    """The batches of an epoch, starting with the next one.

    If several processes train together, each takes its own batches, and all take equally many. The
    remaining batches of an epoch, fewer than there are processes, are not shown.
    """

    def __init__(
        self,
        targets: torch.Tensor,
        training: TrainingSettings,
        external: ExternalShare | None = None,
    ) -> None:
        if len(targets) < 2:
            raise UserError(f"at least 2 images are needed for training (got {len(targets)})")
        self.count, self.training = len(targets), training
        self.pools = pools_of(targets.numpy(), external, training.sampler) if external else ()
        drawn = training.sampler != "shuffled"
        self.members = members_to_draw(targets.numpy(), training.sampler) if drawn else []
        self.start(0)
        self.batches = len(self._all())

    def start(self, epoch: int, batches_done: int = 0) -> None:
        """Continue with this epoch, of which `batches_done` batches are already done."""
        self.epoch, self.batches_done = epoch, batches_done

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch for this process."""
        return self.batches // _processes()[1]

    def __iter__(self) -> Iterator[list[Place]]:
        # A generator reads the epoch only when the first batch is requested. Lightning creates the
        # iterator before it starts the epoch.
        rank, processes = _processes()
        own = self._all()[rank::processes][: len(self)]
        yield from own[self.batches_done :]

    def _all(self) -> list[list[Place]]:
        rng = np.random.default_rng(seed_of(self.training.seed, self.epoch))
        batches = (
            mixed_batches(self.pools, self.training, rng)
            if self.pools
            else epoch_batches(self.members, self.count, self.training, rng)
        )
        shown_before = iter(repeats(np.concatenate(batches)))
        return [[(int(n), self.epoch, next(shown_before)) for n in batch] for batch in batches]


def training_loader(
    store: ImageStore,
    ids: Sequence[str],
    targets: torch.Tensor,
    training: TrainingSettings,
    external: ExternalShare | None = None,
) -> DataLoader[Sample]:
    """Return a loader of augmented batches (uint8 N x C x H x W, targets N x ..., indices N).

    Args:
        store: The image store.
        ids: The ids of the training images.
        targets: Class numbers, N, or N x L with 1 if an image has a label.
        training: The settings of the training.
        external: Which images are external, and their share of an epoch.

    Raises:
        UserError: There are too few images for a batch, or crops are larger than the stored images.
    """
    dataset = FieldDataset(store, ids, targets, training, augment=True)
    return DataLoader(dataset, batch_sampler=EpochBatches(targets, training, external))


def validation_loader(
    store: ImageStore, ids: Sequence[str], targets: torch.Tensor, training: TrainingSettings
) -> DataLoader[Sample]:
    """Return a loader of batches without augmentation, in the order of the ids.

    Each process sees all images.
    """
    dataset = FieldDataset(store, ids, targets, training, augment=False)
    places = [(index, 0, 0) for index in range(len(dataset))]
    return DataLoader(dataset, batch_size=training.batch_size, sampler=places)


def seed_of(*parts: int | str) -> int:
    """Return a number below 2**32 that depends on every part and is the same on every machine."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _processes() -> tuple[int, int]:
    """Return the rank of this process and the number of processes that train together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
