"""Samplers: which images an epoch shows, and in which batches.

All functions depend on their arguments alone, including the random generator. With an external
share, an epoch mixes two pools: the images of the atlas, and external images, which are a fixed
share of the epoch.

Axes: N images, K classes, L labels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.training.settings import Sampler, TrainingSettings

Order = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ExternalShare:
    """The external images and their share of an epoch.

    Attributes:
        external_N: Whether each image is external.
        share: The share of the images of an epoch that are external.
    """

    external_N: NDArray[np.bool_]
    share: float


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Images of one origin: the positions of each class, and how many images an epoch shows."""

    members: Sequence[Order]
    draws: int


def epoch_batches(
    members: Sequence[Order], count: int, training: TrainingSettings, rng: np.random.Generator
) -> list[Order]:
    """Return the batches of an epoch as positions of images. No batch has a single image.

    Args:
        members: See `class_members`.
        count: N, the number of images.
        training: The settings of the training.
        rng: The random generator.
    """
    if training.sampler == "m_per_class":
        return _m_per_class(members, count, training, rng)
    shuffled = training.sampler == "shuffled"
    order = rng.permutation(count) if shuffled else balanced(members, count, rng)
    return _in_batches(order, training.batch_size)


def mixed_batches(
    pools: Sequence[Pool], training: TrainingSettings, rng: np.random.Generator
) -> list[Order]:
    """Return the batches of an epoch that shuffles images of several pools."""
    drawn = [balanced(pool.members, pool.draws, rng) for pool in pools]
    return _in_batches(rng.permutation(np.concatenate(drawn)), training.batch_size)


def pools_of(
    targets: NDArray[np.generic], external: ExternalShare, sampler: Sampler
) -> tuple[Pool, Pool]:
    """Return the pool of the atlas's own images and the pool of external ones.

    An epoch shows as many own images as there are, and as many external ones as the share asks for.
    The sampler "shuffled" shows every own image once, and no external image again before all of
    them were shown; "balanced" draws each pool by its own labels.

    Raises:
        UserError: One of the pools has no images.
    """
    if external.external_N.all() or not external.external_N.any():
        missing = "train.csv" if external.external_N.any() else "external.csv"
        raise UserError(
            f"external share {external.share} needs both pools, but no image of {missing} is in "
            "training"
        )
    own = int((~external.external_N).sum())
    added = round(own * external.share / (1 - external.share))
    return (
        Pool(members=_members(targets, ~external.external_N, sampler), draws=own),
        Pool(members=_members(targets, external.external_N, sampler), draws=added),
    )


def members_to_draw(targets: NDArray[np.generic], sampler: Sampler) -> list[Order]:
    """Return `class_members` for a sampler that draws by class.

    Raises:
        UserError: No image has a label.
    """
    members = class_members(targets)
    if not members:
        raise UserError(f"sampler {sampler}: no image carries a label; use sampler shuffled")
    return members


def class_members(targets: NDArray[np.generic]) -> list[Order]:
    """Return the positions of the images of each class that occurs.

    Args:
        targets: Class numbers, N; or whether an image has a label, N x L. In the second case labels
            are classes, and an image is a member of each of its labels.
    """
    if targets.ndim == 2:
        columns = [np.flatnonzero(has_N) for has_N in targets.T]
        return [members for members in columns if len(members)]
    by_class = np.argsort(targets, kind="stable")
    starts = np.flatnonzero(np.diff(targets[by_class])) + 1
    return np.split(by_class, starts)


def balanced(members: Sequence[Order], count: int, rng: np.random.Generator) -> Order:
    """Draw `count` positions, the same number from each class, give or take one.

    All images of a class are drawn before one of them is drawn again.
    """
    draws_K = np.full(len(members), count // len(members))
    draws_K[rng.permutation(len(members))[: count % len(members)]] += 1
    drawn = [_dealt(own, int(draws), rng) for own, draws in zip(members, draws_K, strict=True)]
    return rng.permutation(np.concatenate(drawn))


def repeats(order: Order) -> list[int]:
    """Return for each place how often its image was shown before."""
    seen: Counter[int] = Counter()
    before = []
    for position in order.tolist():
        before.append(seen[position])
        seen[position] += 1
    return before


def _m_per_class(
    members: Sequence[Order], count: int, training: TrainingSettings, rng: np.random.Generator
) -> list[Order]:
    """Return batches of `images_per_class` images from each of several classes.

    A batch has `batch_size // images_per_class` classes, or all of them if there are fewer. The
    batches together show about `count` images. All classes come up about equally often.
    """
    images = training.images_per_class
    classes = min(training.batch_size // images, len(members))
    batches = max(1, count // (classes * images))
    hands: list[Order] = []
    while len(hands) < batches:
        whole = len(members) // classes * classes
        hands += list(rng.permutation(len(members))[:whole].reshape(-1, classes))
    return [
        np.concatenate([_dealt(members[k], images, rng) for k in hand]) for hand in hands[:batches]
    ]


def _in_batches(order: Order, batch_size: int) -> list[Order]:
    """Split positions into batches, and drop a batch of one image, which BatchNorm cannot use."""
    batches = np.split(order, range(batch_size, len(order), batch_size))
    return [batch for batch in batches if len(batch) > 1]


def _members(
    targets: NDArray[np.generic], chosen_N: NDArray[np.bool_], sampler: Sampler
) -> list[Order]:
    positions = np.flatnonzero(chosen_N)
    if sampler == "shuffled":
        return [positions]  # all images form one class
    return [positions[own] for own in members_to_draw(targets[positions], sampler)]


def _dealt(members: Order, count: int, rng: np.random.Generator) -> Order:
    """Draw `count` members. Every member is drawn before one of them is drawn again."""
    rounds = -(-count // len(members))
    dealt = [rng.permutation(members) for _ in range(rounds)]
    return np.concatenate(dealt or [members])[:count]
