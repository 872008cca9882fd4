"""Folds of a cross-validation: the images that train and those that test."""

import re
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from atlas.core.errors import UserError

IdsByClass = Mapping[Any, Sequence[str]]  # keys of any kind


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The ids of a fold, sorted. Images in neither list are too close to a test image to train."""

    name: str
    training_ids: tuple[str, ...]
    test_ids: tuple[str, ...]


def block_folds(
    ids_by_class: IdsByClass,
    *,
    folds: int = 5,
    gap: int = 20,
    group_of: Mapping[str, str] | None = None,
) -> list[Fold]:
    """Split the ids of each class into contiguous blocks.

    Fold k tests the k-th block of every class.

    Use it for atlases in which neighbouring ids come from one specimen: random folds would train on
    siblings of most test images. The `gap` ids of the class on either side of a test block are not
    used for training. Digits in ids are compared as numbers, so 9 comes before 10. The gap is
    within the class, because a specimen has one class (in HEp-2 each class is one range of
    numbers). A wider gap gives cleaner folds: the same HEp-2 cell was found again up to 167 numbers
    away.

    Args:
        ids_by_class: The ids of each class.
        folds: The number of folds.
        gap: The number of ids on either side of a test block that do not train.
        group_of: The group of an id. Images in the group of a test image do not train either.

    Raises:
        UserError: A class keeps no image for training.
    """
    require_several(folds)
    made: list[list[Fold]] = []
    for ids in ids_by_class.values():
        ordered = sorted(ids, key=_order)
        edges = [k * len(ordered) // folds for k in range(folds + 1)]
        made.append([_block(ordered, *edge, gap) for edge in pairwise(edges)])
    joined = [
        _joined(f"fold{k}", parts, group_of or {})
        for k, parts in enumerate(zip(*made, strict=True), 1)
    ]
    return _checked(joined, ids_by_class, f"{folds} folds with a gap of {gap}")


def random_folds(
    ids_by_class: IdsByClass,
    *,
    folds: int = 5,
    seed: int = 0,
    group_of: Mapping[str, str] | None = None,
) -> list[Fold]:
    """Split the ids at random, stratified by class. Each fold tests a share of every class.

    The order of classes and ids does not affect the result.

    Args:
        ids_by_class: The ids of each class.
        folds: The number of folds.
        seed: The seed of the split.
        group_of: The group of an id. Ids of one group stay together; ids without a group are free.

    Raises:
        UserError: A class keeps no image for training.
    """
    require_several(folds)
    class_of = {image_id: name for name, ids in ids_by_class.items() for image_id in ids}
    ids = sorted(class_of)
    classes = _numbered(class_of[image_id] for image_id in ids)
    groups = _numbered(_group(image_id, group_of or {}) for image_id in ids)
    made = []
    for k, (training, test) in enumerate(_stratified(classes, groups, folds, seed), 1):
        training_ids, test_ids = (tuple(ids[n] for n in part) for part in (training, test))
        made.append(Fold(name=f"fold{k}", training_ids=training_ids, test_ids=test_ids))
    return _checked(made, ids_by_class, f"{folds} folds")


def _stratified(
    classes: list[int], groups: list[int], folds: int, seed: int
) -> list[tuple[Sequence[int], Sequence[int]]]:
    settings = {"n_splits": folds, "shuffle": True, "random_state": seed}
    if len(set(groups)) < len(groups):
        splits = StratifiedGroupKFold(**settings).split(classes, classes, groups)
    else:  # gives equally good folds without a table of groups x classes
        splits = StratifiedKFold(**settings).split(classes, classes)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # checked later
        try:
            return list(splits)
        except ValueError as error:
            raise UserError(f"no class can be divided into {folds} folds ({error})") from error


def _order(image_id: str) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", image_id)  # text and digits alternate
    return [int(part) if n % 2 else part for n, part in enumerate(parts)], image_id


def _block(ordered: Sequence[str], start: int, end: int, gap: int) -> Fold:
    """Return a block as a fold. An empty block, of a class with few ids, has no gap."""
    before, behind = (max(0, start - gap), end + gap) if end > start else (start, end)
    training = (*ordered[:before], *ordered[behind:])
    return Fold(name="", training_ids=training, test_ids=tuple(ordered[start:end]))


def _joined(name: str, parts: Sequence[Fold], group_of: Mapping[str, str]) -> Fold:
    test = sorted(i for part in parts for i in part.test_ids)
    tested = {_group(image_id, group_of) for image_id in test}
    training = sorted(i for part in parts for i in part.training_ids)
    free = (image_id for image_id in training if _group(image_id, group_of) not in tested)
    return Fold(name=name, training_ids=tuple(free), test_ids=tuple(test))


def _group(image_id: str, group_of: Mapping[str, str]) -> tuple[str, str]:
    return ("group", group_of[image_id]) if image_id in group_of else ("image", image_id)


def _numbered(values: Iterable[Hashable]) -> list[int]:
    """Number values in the order of their first occurrence."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]


def require_several(folds: int) -> None:
    """Check that there are at least two folds.

    Raises:
        UserError: There are fewer.
    """
    if folds < 2:
        raise UserError(f"folds must be at least 2 (got {folds})")


def require_tested(made: list[Fold], what: str) -> list[Fold]:
    """Return the folds, after checking that each of them tests images.

    Raises:
        UserError: A fold tests no images.
    """
    for fold in made:
        if not fold.test_ids:
            raise UserError(f"{what}: {fold.name} tests no images; use fewer folds")
    return made


def _checked(made: list[Fold], ids_by_class: IdsByClass, what: str) -> list[Fold]:
    """Return the folds, or raise UserError if a fold tests no images or a class cannot train."""
    for fold in require_tested(made, what):
        training = set(fold.training_ids)
        bare = [(str(c), len(ids)) for c, ids in ids_by_class.items() if training.isdisjoint(ids)]
        if bare:
            name, count = bare[0]
            others = f" (and {len(bare) - 1} more)" if len(bare) > 1 else ""
            raise UserError(
                f"{what}: class {name} of {count} images{others} has none to train on in "
                f"{fold.name}; use fewer folds, a smaller gap, or more images"
            )
    return made
