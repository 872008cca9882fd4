"""Which images an epoch shows, and in which batches. Axes: N images, K classes, L labels.

All are pure functions of what they are given, the generator among it. With an external share, an
epoch mixes two pools: the atlas's own images, and external ones that are a set share of it.
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
    """external_N: which images are external. share: theirs of the images that an epoch shows."""

    external_N: NDArray[np.bool_]
    share: float


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Images of one origin: the positions of each class, and how many an epoch shows."""

    members: Sequence[Order]
    draws: int


def epoch_batches(
    members: Sequence[Order], count: int, training: TrainingSettings, rng: np.random.Generator
) -> list[Order]:
    """The batches of an epoch, as positions of images; none of a single one.

    members: see `class_members`. count: N.
    """
    if training.sampler == "m_per_class":
        return _m_per_class(members, count, training, rng)
    shuffled = training.sampler == "shuffled"
    order = rng.permutation(count) if shuffled else balanced(members, count, rng)
    return _in_batches(order, training.batch_size)


def mixed_batches(
    pools: Sequence[Pool], training: TrainingSettings, rng: np.random.Generator
) -> list[Order]:
    """The batches of an epoch, the pools shuffled together."""
    drawn = [balanced(pool.members, pool.draws, rng) for pool in pools]
    return _in_batches(rng.permutation(np.concatenate(drawn)), training.batch_size)


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


def members_to_draw(targets: NDArray[np.generic], sampler: Sampler) -> list[Order]:
    """The same for a sampler that draws by class. Raises UserError where no image has one."""
    members = class_members(targets)
    if not members:
        raise UserError(f"sampler {sampler}: no image carries a label; take shuffled")
    return members


def class_members(targets: NDArray[np.generic]) -> list[Order]:
    """For each class that occurs, the positions of its images.

    targets: class numbers, N; or whether an image carries a label, N x L: then the labels are the
        classes, and an image is a member of each of its own.
    """
    if targets.ndim == 2:
        columns = [np.flatnonzero(has_N) for has_N in targets.T]
        return [members for members in columns if len(members)]
    by_class = np.argsort(targets, kind="stable")
    starts = np.flatnonzero(np.diff(targets[by_class])) + 1
    return np.split(by_class, starts)


def balanced(members: Sequence[Order], count: int, rng: np.random.Generator) -> Order:
    """`count` positions, as many of each class as of any other, give or take one.

    A class of few images shows all of them before it shows one again.
    """
    draws_K = np.full(len(members), count // len(members))
    draws_K[rng.permutation(len(members))[: count % len(members)]] += 1
    drawn = [_dealt(own, int(draws), rng) for own, draws in zip(members, draws_K, strict=True)]
    return rng.permutation(np.concatenate(drawn))


def repeats(order: Order) -> list[int]:
    """For each place, how often its image has been shown before."""
    seen: Counter[int] = Counter()
    before = []
    for position in order.tolist():
        before.append(seen[position])
        seen[position] += 1
    return before


def _m_per_class(
    members: Sequence[Order], count: int, training: TrainingSettings, rng: np.random.Generator
) -> list[Order]:
    """Batches of `images_per_class` images of each of `batch_size // images_per_class` classes.

    As many batches as show about `count` images. Where there are fewer classes than a batch takes,
    it takes them all. The classes are dealt like cards, so that one comes up about as often as
    another.
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
    """Threshold into batches; none of a single image, from which BatchNorm cannot learn."""
    batches = np.split(order, range(batch_size, len(order), batch_size))
    return [batch for batch in batches if len(batch) > 1]


def _members(
    targets: NDArray[np.generic], chosen_N: NDArray[np.bool_], sampler: Sampler
) -> list[Order]:
    positions = np.flatnonzero(chosen_N)
    if sampler == "shuffled":
        return [positions]  # one class for all
    return [positions[own] for own in members_to_draw(targets[positions], sampler)]


def _dealt(members: Order, count: int, rng: np.random.Generator) -> Order:
    """`count` of them, every one before any comes again."""
    rounds = -(-count // len(members))
    dealt = [rng.permutation(members) for _ in range(rounds)]
    return np.concatenate(dealt or [members])[:count]
