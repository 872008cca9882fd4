"""Compute losses naively in plain Python, written from the definitions."""

import math
from collections.abc import Iterator, Sequence
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


def asymmetric(logits: Rows, targets: Truth) -> float:
    total = 0.0
    for logit, target in zip(chain(*logits), chain(*targets), strict=True):
        probability = 1 / (1 + math.exp(-logit))
        shifted = max(probability - 0.05, 0.0)
        total += -math.log(probability) if target else -(shifted**4) * math.log(1 - shifted)
    return total / len(logits)


def bce(logits: Rows, targets: Truth) -> float:
    return weighted_bce(logits, targets, [1.0] * len(logits[0]))


def weighted_bce(logits: Rows, targets: Truth, positive_weights: Sequence[float]) -> float:
    each = [
        (weight if target else 1.0) * _cross_entropy(logit, target)
        for row, truth in zip(logits, targets, strict=True)
        for logit, target, weight in zip(row, truth, positive_weights, strict=True)
    ]
    return sum(each) / len(each)


def multilabel_soft_margin(logits: Rows, targets: Truth) -> float:
    """As torch's page has it: a mean over classes for each image, then over images."""
    total = 0.0
    for row, truth in zip(logits, targets, strict=True):
        right = 0.0
        for x, y in zip(row, truth, strict=True):
            right += y * math.log(1 / (1 + math.exp(-x)))
            right += (1 - y) * math.log(math.exp(-x) / (1 + math.exp(-x)))
        total -= right / len(row)
    return total / len(logits)


def hard_negative_bce(logits: Rows, targets: Truth) -> float:
    total = 0.0
    for column, truth in _columns(logits, targets):
        positives = [x for x, y in zip(column, truth, strict=True) if y]
        negatives = sorted((x for x, y in zip(column, truth, strict=True) if not y), reverse=True)
        count = len(positives) + max(2, int(0.5 * len(negatives)))
        hard = negatives[: min(count, int(0.7 * len(negatives)) + 2)]
        each = [_cross_entropy(x, 1) for x in positives] + [_cross_entropy(x, 0) for x in hard]
        total += sum(each) / len(each)
    return total / len(logits[0])


def soft_f1(logits: Rows, targets: Truth) -> float:
    total = 0.0
    for column, truth in _columns(logits, targets):
        hits = false_alarms = missed = 0.0
        for logit, target in zip(column, truth, strict=True):
            probability = 1 / (1 + math.exp(-logit))
            hits += probability * target
            false_alarms += probability * (1 - target)
            missed += (1 - probability) * target
        precision = hits / (hits + false_alarms + 1e-10)
        recall = hits / (hits + missed + 1e-10)
        total += 2 * precision * recall / (precision + recall + 1e-10)
    return 1 - total / len(logits[0])


def lovasz_hinge(logits: Rows, targets: Truth) -> float:
    losses = [_lovasz_hinge_of_class(column, truth) for column, truth in _columns(logits, targets)]
    return sum(losses) / len(losses)


def lovasz_flat(logits: Rows, targets: Truth) -> float:
    return _lovasz_hinge_of_class(list(chain(*logits)), list(chain(*targets)))


def symmetric_lovasz(logits: Rows, targets: Truth) -> float:
    rotated = [[-logit for logit in row] for row in logits]
    absent = [[1 - target for target in row] for row in targets]
    return (lovasz_hinge(logits, targets) + lovasz_hinge(rotated, absent)) / 2


def _columns(logits: Rows, targets: Truth) -> Iterator[tuple[Sequence[float], Sequence[int]]]:
    return zip(zip(*logits, strict=True), zip(*targets, strict=True), strict=True)


def _cross_entropy(logit: float, target: int) -> float:
    return math.log1p(math.exp(-logit if target else logit))


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
    return max(f1(truth, [score >= threshold for score in scores]) for threshold in scores)


def macro_f1_at(scores: Rows, truth: Truth, threshold: float) -> float:
    columns = zip(zip(*scores, strict=True), zip(*truth, strict=True), strict=True)
    each = [
        f1(column_truth, [score >= threshold for score in column])
        for column, column_truth in columns
    ]
    return sum(each) / len(each)


def best_macro_f1_of_one_cut(scores: Rows, truth: Truth) -> float:
    return max(macro_f1_at(scores, truth, threshold) for threshold in set(chain(*scores)))
