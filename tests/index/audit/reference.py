"""Naive references of `index`: slow, short and plainly right."""

from collections.abc import Mapping, Sequence
from math import exp, log, log1p

import numpy as np

from atlas.dataset.artifacts import Neighbours

Labels = Mapping[str, tuple[int, ...]]


def chances(labels: Labels, label_count: int) -> list[float]:
    return [
        (sum(c in some for some in labels.values()) + 0.5) / (len(labels) + 1)
        for c in range(label_count)
    ]


def agreement_of_pairs(
    pairs: Sequence[tuple[str, str]], labels: Labels, *, label_count: int
) -> list[float]:
    """Products of what each of a pair has beyond chance, over what a pair of equals would give."""
    chance = chances(labels, label_count)
    full = sum(p * (1 - p) for p in chance)
    return [
        sum(((c in labels[a]) - p) * ((c in labels[b]) - p) for c, p in enumerate(chance)) / full
        for a, b in pairs
    ]


def audited(
    neighbours: Neighbours,
    labels: Labels,
    kin: Mapping[str, str],
    *,
    label_count: int,
    wrong_share: float,
    largest: float,
) -> tuple[list[list[float]], list[float]]:
    """Log-odds of every label of every query to be wrong, and of every query's labels together.

    For fewer than 400 pairs, which are one step of the curve.
    """
    chance = chances(labels, label_count)
    heard = {
        query: [str(i) for i in row if i]
        for query, row in zip(neighbours.query_ids, neighbours.reference_ids_NK, strict=True)
    }
    name = {i: kin.get(i, f"{i} by itself") for i in labels}
    kinds: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for query, others in heard.items():
        for other in others:
            kinds[name[query] == name[other]].append((query, other))
    kappa = {}
    for kind, pairs in kinds.items():
        agreement = agreement_of_pairs(pairs, labels, label_count=label_count)
        kappa[kind] = min(max(float(np.mean(agreement)), 0), largest) if pairs else 0.0
    rows = [labels[query] for query in heard]

    def registration_score(kind: bool, fading: float) -> list[list[float]]:
        return [
            [
                sum(
                    ratio(c in labels[other], kappa[kind], p)
                    / sum(name[third] == name[other] for third in others)
                    / rank**fading
                    for rank, other in enumerate(others, start=1)
                    if (name[query] == name[other]) == kind
                )
                for c, p in enumerate(chance)
            ]
            for query, others in heard.items()
        ]

    tried = []
    for fading in (0.0, 0.25, 0.5, 0.75, 1.0):
        non_matches = registration_score(False, fading)
        factor = likeliest_factor(non_matches, rows, chance)
        tried.append((surprise(factor, non_matches, rows, chance), factor, non_matches))
    _, trust, of_non_matches = min(tried, key=lambda one: one[0])
    of_kin = registration_score(True, 0.0)
    labels_found, images_found = [], []
    for n, query in enumerate(heard):
        row = []
        another = log(wrong_share / (1 - wrong_share))
        for c, p in enumerate(chance):
            has = c in labels[query]
            own = of_kin[n][c]
            total = trust * of_non_matches[n][c] + (min(own, 0) if has else max(own, 0))
            missing = min(wrong_share * p / (1 - p), 0.5)
            before = wrong_share if has else missing
            row.append(log(before / (1 - before)) + (-total if has else total))
            expected = 1 / (1 + exp(-(log(p / (1 - p)) + total)))
            another += log(p / expected) if has else log((1 - p) / (1 - expected))
        labels_found.append(row)
        images_found.append(log((exp(another) + sum(map(exp, row))) / 2))
    return labels_found, images_found


def ratio(has: bool, kappa: float, p: float) -> float:
    """Logarithm of P(neighbour's label | label is right) / P(... | it is not)."""
    alike, by_chance = kappa, 1 - kappa
    if has:
        return log((alike + by_chance * p) / (by_chance * p))
    return log(by_chance * (1 - p) / (alike + by_chance * (1 - p)))


def surprise(
    factor: float,
    registration_score: list[list[float]],
    rows: Sequence[tuple[int, ...]],
    chance: list[float],
) -> float:
    """-log P(labels), summed."""
    total = 0.0
    for values, some in zip(registration_score, rows, strict=True):
        for c, (value, p) in enumerate(zip(values, chance, strict=True)):
            odds = log(p / (1 - p)) + factor * value
            odds = -odds if c in some else odds
            total += odds + log1p(exp(-odds)) if odds > 0 else log1p(exp(odds))
    return total


def likeliest_factor(
    registration_score: list[list[float]], rows: Sequence[tuple[int, ...]], chance: list[float]
) -> float:
    """By trying: the surprise at the labels is convex in the factor."""
    low, high = 0.0, 1.0
    for _ in range(60):
        third = (high - low) / 3
        one, other = (
            surprise(f, registration_score, rows, chance) for f in (low + third, high - third)
        )
        if one <= other:
            high -= third
        else:
            low += third
    return (low + high) / 2
