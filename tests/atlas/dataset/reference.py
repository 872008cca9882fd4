"""Naive reference implementations of counts over tables and pixels."""

from itertools import combinations
from math import comb, log10

import numpy as np


def both(labels: list[set[int]], a: int, b: int) -> int:
    return sum(a in own and b in own for own in labels)


def phi(labels: list[set[int]], a: int, b: int) -> float:
    """Return Pearson's correlation from a 2 x 2 table, or NaN if a label is constant."""
    n11 = both(labels, a, b)
    n10 = sum(a in own and b not in own for own in labels)
    n01 = sum(a not in own and b in own for own in labels)
    n00 = sum(a not in own and b not in own for own in labels)
    spread = (n11 + n10) * (n01 + n00) * (n11 + n01) * (n10 + n00)
    return (n11 * n00 - n10 * n01) / spread**0.5 if spread else float("nan")


def log10_chance(labels: list[set[int]], a: int, b: int) -> float:
    """Return Fisher's exact test, two-sided by doubling, by counting draws over all used pairs."""
    n, of_a, of_b, met = len(labels), both(labels, a, a), both(labels, b, b), both(labels, a, b)
    draws = [comb(of_a, k) * comb(n - of_a, of_b - k) / comb(n, of_b) for k in range(of_b + 1)]
    used = len({label for own in labels for label in own})
    tail = min(sum(draws[met:]), sum(draws[: met + 1]))
    return min(0.0, log10(2 * tail * len(list(combinations(range(used), 2)))))


def percentile(pixels: np.ndarray, percent: int) -> int:
    """Return the least value that the given percentage of the pixels does not exceed."""
    ordered = sorted(pixels.ravel().tolist())
    return next(v for v in ordered if 100 * sum(p <= v for p in ordered) >= percent * len(ordered))
