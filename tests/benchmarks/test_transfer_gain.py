"""Wrong labels are planted as announced, and a memorising classifier is seen through."""

import numpy as np
import pandas as pd

from atlas.dataset.manifest import read_labels
from benchmarks.transfer_gain import ONE_OFF, RANDOM, RIGHT, Bench, compare_once, mislabel
from index.claims.expected_gain import HeldOut, learn
from tests.conftest import write_tiny_atlas

LABELS = tuple(f"label {n}" for n in range(6))


def test_a_share_of_the_sources_gets_wrong_labels_and_nothing_else_changes(tmp_path):
    ids = [f"m{n:02}" for n in range(30)]
    labels = {i: f"{n % 6} {(n + 1) % 6}" if n % 2 else str(n % 6) for n, i in enumerate(ids)}
    data = write_tiny_atlas(
        tmp_path / "data", train=labels, test=[f"t{i}" for i in ids], labels=LABELS
    )
    truth = pd.DataFrame(
        {"Id": [f"t{i}" for i in ids], "relation": ["same_image"] * 20 + ["sibling"] * 10,
         "source": ids, "edit": "", "Target": list(labels.values())}
    )  # fmt: skip
    truth.to_csv(data / "truth.csv", index=False)
    mislabel(data, tmp_path / "out", wrong=0.3)
    before, after = read_labels(data), read_labels(tmp_path / "out")
    differing = {i: len(set(before[i]) ^ set(after[i])) for i in ids if before[i] != after[i]}
    assert set(differing) <= set(ids[:20])
    assert len(differing) == 6
    assert sum(count == 1 for count in differing.values()) >= 3
    assert all(after[i] for i in ids)
    for name in ("truth.csv", "sample_submission.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (data / name).read_bytes()


def test_only_who_did_not_train_on_wrong_labels_finds_them():
    rng, count = np.random.default_rng(0), 600
    chance = np.geomspace(0.4, 0.05, 6)

    def drawn(n: int) -> np.ndarray:
        truth = (rng.random((n, 6)) < chance).astype(np.uint8)
        truth[np.arange(n), rng.choice(6, n, p=chance / chance.sum())] = 1
        return truth

    def sees(labels: np.ndarray, skill: float) -> np.ndarray:
        return 1 / (1 + np.exp(1.5 - rng.normal(skill * (labels - 0.5), 1.0)))

    truth, learned = drawn(count), drawn(1500)
    kind = rng.choice([RIGHT, ONE_OFF, RANDOM], 200, p=[0.7, 0.1, 0.2])
    given = truth[:200].copy()
    for n in np.flatnonzero(kind == ONE_OFF):
        given[n, rng.choice(np.flatnonzero(given[n] == 0))] = 1
    given[kind == RANDOM] = 1 - truth[:200][kind == RANDOM]
    said = sees(learned, 4.0)
    memorised = sees(np.concatenate([given, truth[200:]]), 8.0)
    bench = Bench(
        judge=learn(HeldOut(submitted_HC=said, judging_HC=said, truth_HC=learned), seed=0),
        probabilities_NC=memorised, predicted_NC=(sees(truth, 4.0) > 0.4).astype(np.uint8),
        truth_NC=truth, copies_L=np.arange(200), given_LC=given, kind_L=kind,
        independent_LC=sees(truth[:200], 4.0),
    )  # fmt: skip
    found, judged = compare_once(bench, wrong=0.3, matched=150, seed=0)
    assert found["before random"] > 0.9
    assert found["after random"] < 0.1
    assert min(found["before right"], found["after right"]) > 0.9
    after = judged[judged["way"] == "after"].groupby("right")["confidence"].mean()
    assert after[0] < 0.5 < after[1]
    assert found["after"] > max(found["before"], found["classifier"], found["copied"])
