"""The audit of labels: by hand, against a naive twin, and on planted truth."""

from collections.abc import Mapping
from math import exp, log, log1p

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

from atlas.dataset.artifacts import EmbeddingSet, Neighbours
from index.audit.label_audit import LARGEST_KAPPA, LabelAudit, audit_labels
from index.search.vector_index import build_index
from tests.index.audit.reference import agreement_of_pairs, audited

WRONG_SHARE = 0.05

Labels = Mapping[str, tuple[int, ...]]


def neighbours_of(rows: Mapping[str, list[tuple[str, float]]]) -> Neighbours:
    """id -> (neighbour, similarity), nearest first; rows are filled up to the longest."""
    k = max(map(len, rows.values()))
    filled = [[*row, *[("", -np.inf)] * (k - len(row))] for row in rows.values()]
    return Neighbours(
        query_ids=tuple(rows),
        reference_ids_NK=np.array([[i for i, _ in row] for row in filled], object),
        similarity_NK=np.array([[s for _, s in row] for row in filled], np.float32),
    )


def audit(
    neighbours: Neighbours, labels: Labels, kin: Mapping[str, str] | None = None, count: int = 3
) -> LabelAudit:
    return audit_labels(
        neighbours, labels, label_count=count, kin=kin or {}, wrong_share=WRONG_SHARE
    )


def clusters(
    *, of: int = 12, classes: int = 4, fields: int = 1, spread: float = 0.25, seed: int = 0
) -> tuple[Neighbours, dict[str, tuple[int, ...]], dict[str, str]]:
    """Images of each class lie together; `fields` of one specimen closer still. Kin by specimen."""
    rng = np.random.default_rng(seed)
    vectors, labels, kin = [], {}, {}
    for label in range(classes):
        centre = np.eye(8)[label]
        for specimen in range(of):
            own = centre + rng.normal(0, spread, 8)
            for field in range(fields):
                name = f"{label}-{specimen:02d}-{field}"
                vectors.append(own + rng.normal(0, spread / 4, 8))
                labels[name] = (label,)
                kin[name] = f"{label}-{specimen:02d}"
    unit = np.array(vectors, np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    known = EmbeddingSet(ids=tuple(labels), vectors_ND=unit, provenance={"embedder": "drawn"})
    return build_index(known).search(known, 8), labels, kin if fields > 1 else {}


def test_a_wrong_label_is_the_most_suspicious_and_its_own_is_suggested() -> None:
    neighbours, labels, _ = clusters()
    labels["2-03-0"] = (0,)
    found = audit(neighbours, labels, count=4)
    worst = int(found.suspicion_N.argmax())
    assert found.ids[worst] == "2-03-0"
    assert found.suspicion_N[worst] > 0.5
    assert found.suggested(worst) == (2,)
    assert found.suspicion_N[worst] > 2 * np.sort(found.suspicion_N)[-2]


def test_a_missing_label_is_suspected_as_a_wrong_one_is() -> None:
    neighbours, labels, _ = clusters()
    labels |= {i: (*some, 3) for i, some in labels.items() if some == (1,)}
    labels["1-05-0"] = (1,)
    found = audit(neighbours, labels, count=4)
    worst = int(found.suspicion_N.argmax())
    assert found.ids[worst] == "1-05-0"
    assert found.wrong_NC[worst].argmax() == 3
    assert found.suggested(worst) == (1, 3)


def test_neighbours_that_say_nothing_leave_every_label_as_likely_wrong_as_before() -> None:
    rng = np.random.default_rng(3)
    ids = [f"i{n}" for n in range(400)]
    labels = {i: tuple(np.flatnonzero(rng.random(3) < (0.6, 0.3, 0.1))) for i in ids}
    others = {i: [(str(j), 0.5) for j in rng.choice(ids, 6) if j != i] for i in ids}
    found = audit(neighbours_of(others), labels)
    share_C = found.labels_NC.mean(axis=0)
    missing_NC = np.broadcast_to(WRONG_SHARE * share_C / (1 - share_C), found.wrong_NC.shape)
    before_NC = np.where(found.labels_NC, WRONG_SHARE, missing_NC)
    np.testing.assert_allclose(found.wrong_NC, before_NC, atol=0.04)


def test_a_rare_label_that_no_neighbour_has_is_no_more_suspicious_than_a_common_one() -> None:
    """Nobody can have neighbours with a label that is there once."""
    neighbours, labels, _ = clusters(classes=3)
    labels["0-00-0"] = (0, 3)
    labels["1-00-0"] = (1, 2)
    found = audit(neighbours, labels, count=4)
    rare = found.wrong_NC[found.ids.index("0-00-0"), 3]
    common = found.wrong_NC[found.ids.index("1-00-0"), 2]
    assert rare < common


def test_kin_that_all_carry_one_wrong_label_do_not_vouch_for_one_another() -> None:
    neighbours, labels, kin = clusters(of=10, fields=4)
    for field in range(4):
        labels[f"2-03-{field}"] = (0,)
    reported = audit(neighbours, labels, kin, count=4)
    untold = audit(neighbours, labels, count=4)
    wrong = [n for n, i in enumerate(reported.ids) if i.startswith("2-03")]
    assert set(np.argsort(-reported.suspicion_N)[:4]) == set(wrong)
    assert (reported.suspicion_N[wrong] > untold.suspicion_N[wrong]).all()


def test_one_image_against_its_kin_is_found() -> None:
    neighbours, labels, kin = clusters(of=10, fields=4, spread=2.0)  # classes are no clusters
    labels["2-03-1"] = (0,)
    found = audit(neighbours, labels, kin, count=4)
    assert found.ids[int(found.suspicion_N.argmax())] == "2-03-1"
    assert found.suggested(int(found.suspicion_N.argmax())) == (2,)


def test_two_pairs_worked_by_hand() -> None:
    """a and b agree, c and d do not; each pair sees only itself, all at one similarity.

    Chances 2.5/5, 1.5/5; agreement of ab and of cd by the definition; kappa is their mean.
    """
    labels = {"a": (0,), "b": (0,), "c": (1,), "d": ()}
    rows = {"a": [("b", 0.9)], "b": [("a", 0.9)], "c": [("d", 0.9)], "d": [("c", 0.9)]}
    found = audit(neighbours_of(rows), labels, count=2)
    p, q = 0.5, 0.3
    total = p * (1 - p) + q * (1 - q)
    same = ((1 - p) ** 2 + q**2) / total
    differing = (p * p - (1 - q) * q) / total
    kappa = (same + differing) / 2
    odds = kappa / (1 - kappa)
    # likely = log-odds of the chance + trust * registration score; the same trust everywhere.
    for_a = found.likely_NC[0] - [log(p / (1 - p)), log(q / (1 - q))]
    ratio = [log1p(odds / p), -log1p(odds / (1 - q))]
    assert for_a[0] / for_a[1] == pytest.approx(ratio[0] / ratio[1])
    trust = for_a[0] / ratio[0]
    assert 0 <= trust <= 1
    a_wrong = log(0.05 / 0.95) - trust * ratio[0]
    assert found.wrong_NC[0, 0] == pytest.approx(1 / (1 + exp(-a_wrong)))


@st.composite
def atlases(draw: st.DrawFn) -> tuple[Neighbours, dict[str, tuple[int, ...]], dict[str, str]]:
    count = draw(st.integers(3, 10))
    ids = [f"i{n}" for n in range(count)]
    some = st.lists(st.integers(0, 2), max_size=3, unique=True)
    labels = {i: tuple(draw(some)) for i in ids}
    kin = {i: draw(st.sampled_from("xyz")) for i in ids if draw(st.booleans())}
    rows = {}
    for i in ids:
        near = draw(st.lists(st.sampled_from([j for j in ids if j != i]), unique=True, max_size=4))
        falling = sorted((draw(st.integers(0, 8)) / 8 for _ in near), reverse=True)
        rows[i] = list(zip(near, falling, strict=True))
    rows[ids[0]] = rows[ids[0]] or [(ids[1], 0.5)]
    return neighbours_of(rows), labels, kin


@given(atlases())
def test_the_audit_is_that_of_the_naive_twin(
    atlas: tuple[Neighbours, dict[str, tuple[int, ...]], dict[str, str]],
) -> None:
    neighbours, labels, kin = atlas
    found = audit(neighbours, labels, kin)
    of_labels, of_images = audited(
        neighbours, labels, kin, label_count=3, wrong_share=WRONG_SHARE, largest=LARGEST_KAPPA
    )
    # As near as the factor that is tried for.
    np.testing.assert_allclose(logit(found.wrong_NC), of_labels, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(logit(found.suspicion_N), of_images, rtol=1e-3, atol=1e-3)


def test_agreement_of_pairs_is_1_for_equal_labels_and_0_on_average_by_chance() -> None:
    labels = {f"i{n}": (n % 2,) for n in range(40)}
    ids = list(labels)
    pairs = [(a, b) for a in ids for b in ids if a != b]
    agreement = agreement_of_pairs(pairs, labels, label_count=2)
    assert np.mean([x for x, (a, b) in zip(agreement, pairs, strict=True)
                    if labels[a] == labels[b]]) == pytest.approx(1, abs=0.03)  # fmt: skip
    assert np.mean(agreement) == pytest.approx(0, abs=0.05)


def test_an_image_without_neighbours_is_neither_cleared_nor_accused() -> None:
    rows = {"a": [("b", 0.9)], "b": [("a", 0.9)], "c": []}
    found = audit(neighbours_of(rows), {"a": (0,), "b": (0,), "c": (1,)})
    assert found.wrong_NC[2, 1] == pytest.approx(WRONG_SHARE)
    assert found.suggested(2) == (1,)
