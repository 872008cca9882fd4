"""Which losses there are, and how a weighted sum of them is written. Only the standard library
here, so that `--help` is instant."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from atlas.core.errors import UserError

LossName = Literal[
    "bce", "weighted_bce", "focal", "lovasz_hinge", "lovasz_flat", "symmetric_lovasz",
    "hard_negative_bce", "soft_f1", "multilabel_soft_margin", "asymmetric",
]  # fmt: skip
NAMES: tuple[LossName, ...] = get_args(LossName)


@dataclass(frozen=True, kw_only=True)
class LossTerm:
    """One loss and its weight in a sum."""

    name: LossName
    weight: float = 1.0

    def __str__(self) -> str:
        return self.name if self.weight == 1 else f"{self.weight:g} {self.name}"


LossSum = tuple[LossTerm, ...]


def parse_loss(text: str) -> LossSum:
    """The sum that is written as "0.5 focal + 0.5 bce"; a weight that is left out is 1.

    Raises UserError where it is not written so.
    """
    try:
        return tuple(_term(part) for part in text.split("+"))
    except ValueError as error:
        raise UserError(
            f'loss "{text}": {error}; write it as "0.5 focal + 0.5 bce", of {", ".join(NAMES)}'
        ) from None


def term_problems(terms: LossSum) -> Iterator[str]:
    """What is wrong with the sum as a sum, a line each."""
    for term in terms:
        if not 0 < term.weight < math.inf:
            yield f"weight {term.weight} of {term.name}: must be above 0, or leave it out"
    for name, times in Counter(term.name for term in terms).items():
        if times > 1:
            yield f"{name} is in one loss {times} times; give it once, with one weight"


def _term(text: str) -> LossTerm:
    """Raises ValueError saying what is wrong with it."""
    words = text.split()
    if len(words) not in (1, 2):
        raise ValueError(f'"{text.strip()}" is not a weight and a loss')
    weight = _weight(words[0]) if len(words) == 2 else 1.0
    for name in NAMES:
        if name == words[-1]:
            return LossTerm(name=name, weight=weight)
    raise ValueError(f"no loss is called {words[-1]}")


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text} is not a number") from None
