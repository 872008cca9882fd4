"""Define the names of losses and the notation of weighted sums.

Only the standard library is imported, so that `--help` is instant.
"""

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
    """Store a loss and its weight in a sum."""

    name: LossName
    weight: float = 1.0

    def __str__(self) -> str:
        return self.name if self.weight == 1 else f"{self.weight:g} {self.name}"


LossSum = tuple[LossTerm, ...]


def parse_loss(text: str) -> LossSum:
    """Return the sum that is written as "0.5 focal + 0.5 bce"; a weight that is left out is 1.

    Raises:
        UserError: The text has another form or names an unknown loss.

    Example:
        >>> [(term.weight, term.name) for term in parse_loss("0.5 focal + bce")]
        [(0.5, 'focal'), (1.0, 'bce')]
    """
    try:
        return tuple(_term(part) for part in text.split("+"))
    except ValueError as error:
        raise UserError(
            f'loss "{text}": {error}; write it as "0.5 focal + 0.5 bce" with these losses: '
            f"{', '.join(NAMES)}"
        ) from None


def term_problems(terms: LossSum) -> Iterator[str]:
    """Yield what is wrong with a sum of losses, one line each."""
    for term in terms:
        if not term.weight > 0:
            yield f"the weight of {term.name} must be above 0 (got {term.weight})"
        elif term.weight == math.inf:
            yield f"the weight of {term.name} must be finite (got {term.weight})"
    for name, times in Counter(term.name for term in terms).items():
        if times > 1:
            yield f"{name} occurs {times} times in one loss; give it once, with one weight"


def _term(text: str) -> LossTerm:
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
