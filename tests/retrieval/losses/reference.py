"""Compute the losses naively: loops over plain numbers, written from the papers' equations."""

import math
from collections.abc import Callable, Sequence

Vector = Sequence[float]
Rows = Sequence[Vector]
Logit = Callable[[Vector, Vector, bool], float]  # of an image, a class vector, and whether its own


def cosine(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def angle(a: Vector, b: Vector) -> float:
    return math.acos(max(-1.0, min(1.0, cosine(a, b))))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def class_loss(features: Rows, vectors: Rows, classes: Sequence[int], logit: Logit) -> float:
    """Cross-entropy over classes, mean over images."""
    costs = []
    for feature, own in zip(features, classes, strict=True):
        logits = [logit(feature, vector, c == own) for c, vector in enumerate(vectors)]
        costs.append(math.log(sum(math.exp(x) for x in logits)) - logits[own])
    return mean(costs)


def sphereface_cosine(rotated: float) -> float:
    """(-1)^k cos(m t) - 2k for m t in [k pi, (k + 1) pi]."""
    k = 0
    while rotated > (k + 1) * math.pi:
        k += 1
    return (-1) ** k * math.cos(rotated) - 2 * k


def combined_margin(scale: float, m1: float, m2: float, m3: float) -> Logit:
    def logit(feature: Vector, vector: Vector, own: bool) -> float:
        if not own:
            return scale * cosine(feature, vector)
        rotated = m1 * angle(feature, vector)
        if rotated + m2 <= math.pi:
            return scale * (math.cos(rotated + m2) - m3)
        return scale * (sphereface_cosine(rotated) - m2 * math.sin(m2) - m3)

    return logit


def large_margin(m: float) -> Logit:
    def logit(feature: Vector, vector: Vector, own: bool) -> float:
        rotated = angle(feature, vector) * (m if own else 1)
        return math.hypot(*feature) * math.hypot(*vector) * sphereface_cosine(rotated)

    return logit


def nearest_subcenters(feature: Vector, vectors: Rows, subcenters: int) -> Rows:
    """Return the sub-centre of each class that is nearest to one image."""
    classes = [vectors[start : start + subcenters] for start in range(0, len(vectors), subcenters)]
    return [max(several, key=lambda vector: cosine(feature, vector)) for several in classes]


def intra(features: Rows, vectors: Rows, classes: Sequence[int], subcenters: int = 1) -> float:
    total = 0.0
    for feature, own in zip(features, classes, strict=True):
        total += angle(feature, nearest_subcenters(feature, vectors, subcenters)[own])
    return total / (math.pi * len(features))


def inter(vectors: Rows, classes: Sequence[int], subcenters: int = 1) -> float:
    """Compute the inter term; with sub-centres, the angle of two classes is the mean over pairs."""
    n = len(vectors) // subcenters
    total = 0.0
    for own in classes:
        for other in set(range(n)) - {own}:
            for k in range(subcenters):
                for l in range(subcenters):  # noqa: E741
                    pair = vectors[own * subcenters + k], vectors[other * subcenters + l]
                    total += angle(*pair) / subcenters**2
    return -total / (math.pi * len(classes) * (n - 1))


def triplet(features: Rows, classes: Sequence[int], margin_radians: float) -> float:
    """Return the mean over the triplets that violate the margin."""
    everyone = range(len(features))
    broken = []
    for a in everyone:
        for p in everyone:
            for n in everyone:
                if a != p and classes[a] == classes[p] and classes[a] != classes[n]:
                    near, far = angle(features[a], features[p]), angle(features[a], features[n])
                    broken.append(near + margin_radians - far)
    broken = [cost for cost in broken if cost > 0]
    return mean(broken) if broken else 0.0


def multi_similarity(features: Rows, classes: Sequence[int]) -> float:
    """Wang et al. 2019, section 4: pairs that are hard beside the others, then their weights."""
    alpha, beta, base, epsilon = 2, 50, 0.5, 0.1
    costs = []
    for i, feature in enumerate(features):
        with_others = [(cosine(feature, f), j) for j, f in enumerate(features) if j != i]
        positive = [s for s, j in with_others if classes[j] == classes[i]]
        negative = [s for s, j in with_others if classes[j] != classes[i]]
        hard = [s for s in positive if s < max(negative, default=-math.inf) + epsilon]
        near = [s for s in negative if s > min(positive, default=math.inf) - epsilon]
        pulled = math.log(1 + sum(math.exp(-alpha * (s - base)) for s in hard)) / alpha
        pushed = math.log(1 + sum(math.exp(beta * (s - base)) for s in near)) / beta
        costs.append(pulled + pushed)
    return mean(costs)


def supervised_contrastive(
    features: Rows, label_sets: Sequence[set[int]], temperature: float
) -> float:
    costs = []
    for i, feature in enumerate(features):
        others = [j for j in range(len(features)) if j != i]
        logits = {j: cosine(feature, features[j]) / temperature for j in others}
        weights = {j: jaccard(label_sets[i], label_sets[j]) for j in others}
        if sum(weights.values()) > 0:
            total = math.log(sum(math.exp(x) for x in logits.values()))
            weighted = sum(weights[j] * (total - logits[j]) for j in others)
            costs.append(weighted / sum(weights.values()))
    return mean(costs) if costs else 0.0


def jaccard(a: set[int], b: set[int]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0
