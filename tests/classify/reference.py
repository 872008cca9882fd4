"""Naive twins in plain Python: slow, short, and written from the definition."""

import math
from collections.abc import Sequence
from itertools import chain

Rows = Sequence[Sequence[float]]
Truth = Sequence[Sequence[int]]


def focal_loss(logits: Rows, targets: Truth) -> float:
    total = 0.0
    for logit, target in zip(chain(*logits), chain(*targets), strict=True):
        towards = logit if target else -logit
        probability = 1 / (1 + math.exp(-towards))
        total += (1 - probability) ** 2 * math.log1p(math.exp(-towards))
    return total / len(logits)


def lovasz_hinge(logits: Rows, targets: Truth) -> float:
    columns = zip(zip(*logits, strict=True), zip(*targets, strict=True), strict=True)
    losses = [_lovasz_hinge_of_class(column, truth) for column, truth in columns]
    return sum(losses) / len(losses)


def symmetric_lovasz(logits: Rows, targets: Truth) -> float:
    turned = [[-logit for logit in row] for row in logits]
    absent = [[1 - target for target in row] for row in targets]
    return (lovasz_hinge(logits, targets) + lovasz_hinge(turned, absent)) / 2


def _lovasz_hinge_of_class(logits: Sequence[float], truth: Sequence[int]) -> float:
    """Sum of hinge errors times the growth of the Jaccard loss of the set taken wrong so far."""
    errors = [1 - x * (1 if y else -1) for x, y in zip(logits, truth, strict=True)]
    order = sorted(range(len(errors)), key=lambda n: -errors[n])
    loss, wrong, before = 0.0, set[int](), 0.0
    for n in order:
        wrong.add(n)
        loss += max(0.0, errors[n]) * ((now := _jaccard_loss(truth, wrong)) - before)
        before = now
    return loss


def _jaccard_loss(truth: Sequence[int], wrong: set[int]) -> float:
    positives = {n for n, y in enumerate(truth) if y}
    predicted = positives ^ wrong
    union = positives | predicted
    return 1 - len(positives & predicted) / len(union) if union else 0.0


def f1(truth: Sequence[int], predicted: Sequence[bool]) -> float:
    pairs = list(zip(truth, predicted, strict=True))
    hits = sum(1 for y, z in pairs if y and z)
    total = sum(truth) + sum(predicted)
    return 2 * hits / total if total else 0.0


def best_f1_of_class(scores: Sequence[float], truth: Sequence[int]) -> float:
    return max(f1(truth, [score >= cut for score in scores]) for cut in scores)


def macro_f1_at(scores: Rows, truth: Truth, cut: float) -> float:
    columns = zip(zip(*scores, strict=True), zip(*truth, strict=True), strict=True)
    each = [
        f1(column_truth, [score >= cut for score in column]) for column, column_truth in columns
    ]
    return sum(each) / len(each)


def best_macro_f1_of_one_cut(scores: Rows, truth: Truth) -> float:
    return max(macro_f1_at(scores, truth, cut) for cut in set(chain(*scores)))
