"""Epochs of which external images are a set share. Axis N: images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas.errors import UserError
from engine.orders import Order, balanced, in_batches, members_to_draw
from engine.settings import Sampler, TrainingSettings


@dataclass(frozen=True, kw_only=True)
class ExternalShare:
    """external_N: which images are external. share: theirs of the images that an epoch shows."""

    external_N: NDArray[np.bool_]
    share: float


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Images of one origin: the positions of each class, and how many an epoch shows."""

    members: Sequence[Order]
    draws: int


def pools_of(
    targets: NDArray[np.generic], external: ExternalShare, sampler: Sampler
) -> tuple[Pool, Pool]:
    """The atlas's own images, as many as there are, and so many external ones that they are the
    share. Raises UserError where there are none of either.

    "shuffled" shows every own image once, and no external one again before all were shown;
    "balanced" draws each pool by its own labels.
    """
    if external.external_N.all() or not external.external_N.any():
        missing = "train.csv" if external.external_N.any() else "external.csv"
        raise UserError(f"external share {external.share}: no image of {missing} is in training")
    own = int((~external.external_N).sum())
    added = round(own * external.share / (1 - external.share))
    return (
        Pool(members=_members(targets, ~external.external_N, sampler), draws=own),
        Pool(members=_members(targets, external.external_N, sampler), draws=added),
    )


def mixed_batches(
    pools: Sequence[Pool], training: TrainingSettings, rng: np.random.Generator
) -> list[Order]:
    """The batches of an epoch, the pools shuffled together."""
    drawn = [balanced(pool.members, pool.draws, rng) for pool in pools]
    return in_batches(rng.permutation(np.concatenate(drawn)), training.batch_size)


def _members(
    targets: NDArray[np.generic], chosen_N: NDArray[np.bool_], sampler: Sampler
) -> list[Order]:
    positions = np.flatnonzero(chosen_N)
    if sampler == "shuffled":
        return [positions]  # one class for all
    return [positions[own] for own in members_to_draw(targets[positions], sampler)]
