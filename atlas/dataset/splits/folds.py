"""Folds of a cross-validation: who trains, and who is asked about afterwards."""

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
    """Ids, sorted. What is in neither was too near to a test image to train."""

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
    """Each class's ids, in their order, are cut into contiguous blocks; fold k tests the k-th.

    For atlases where neighbouring ids come from one specimen: random folds would put siblings of
    most test images into training. The `gap` ids of the class on either side of a test block
    train nothing. Digits in ids count as numbers, so 9 comes before 10. The gap is within the
    class: a specimen has one class (in HEp-2 each class is one range of numbers). Folds are as
    clean as it is wide: the same HEp-2 cell was met again up to 167 numbers away.
    group_of: what shares a group with a test image trains nothing either. Raises UserError where
    a class keeps nothing to train on.
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
    """Stratified by class and drawn from the seed; each fold tests a share of every class.

    group_of: ids of one group are never parted; ids without one are free. The order of classes
    and of ids does not count. Raises UserError where a class keeps nothing to train on.
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
    else:  # gives as good folds without a table of groups x classes
        splits = StratifiedKFold(**settings).split(classes, classes)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # checked later
        try:
            return list(splits)
        except ValueError as error:
            raise UserError(f"no class can be divided into {folds} folds ({error})") from error


def _order(image_id: str) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", image_id)  # text and digits by rotations
    return [int(part) if n % 2 else part for n, part in enumerate(parts)], image_id


def _block(ordered: Sequence[str], start: int, end: int, gap: int) -> Fold:
    """An empty block, of a class of fewer ids than folds, keeps nothing from training."""
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
    """Numbers in the order of first occurrence."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]


def require_several(folds: int) -> None:
    """Raises UserError for fewer than two."""
    if folds < 2:
        raise UserError(f"{folds} folds leave nothing to train on: give 2 or more")


def require_tested(made: list[Fold], what: str) -> list[Fold]:
    """The same; raises UserError where a fold tests nothing."""
    for fold in made:
        if not fold.test_ids:
            raise UserError(f"{what}: {fold.name} tests nothing; give fewer folds")
    return made


def _checked(made: list[Fold], ids_by_class: IdsByClass, what: str) -> list[Fold]:
    """Raises UserError where a fold tests nothing or a class cannot train."""
    for fold in require_tested(made, what):
        training = set(fold.training_ids)
        bare = [(str(c), len(ids)) for c, ids in ids_by_class.items() if training.isdisjoint(ids)]
        if bare:
            name, count = bare[0]
            others = f" (and {len(bare) - 1} more)" if len(bare) > 1 else ""
            raise UserError(
                f"{what}: class {name} of {count} images{others} has none to train on in "
                f"{fold.name}; give fewer folds, a smaller gap, or more images"
            )
    return made
