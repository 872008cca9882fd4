"""Transfer with abstention, the classifier alone, and plain copying, with wrongly labelled sources.

Folds are trained on a drawn atlas in which the labels of some sources of copies are wrong, half of
them those of a random other image, half with one label too many or missing. The test set has copies
of these sources, so the folds may have memorised the labels that are to be judged.

atlas draw-atlas --identities 2000 --fields-per-identity 1 --test-fields-per-identity 1
    --novel-identities 0 --copies 600 --out D
python benchmarks/transfer_gain.py mislabel --data D --out E
atlas train-folds smoke --data E --out R/folds --epochs 30 --batch-size 64 --learning-rate 6e-3
    --schedule one_cycle --dropouts 0 0 --augmentation none --views 8
python benchmarks/transfer_gain.py compare --data D --mislabelled E --folds R/folds
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from rich.console import Console
from rich.table import Table

from atlas.core.errors import UserError
from atlas.dataset.artifacts import SAME_IMAGE, load_texts
from atlas.dataset.labels import format_labels, parse_labels
from atlas.dataset.manifest import read_labels
from atlas.dataset.metrics import label_matrix, macro_f1
from atlas.dataset.spec import read_spec
from atlas.dataset.truth import read_truth
from classify.decisions.thresholds import apply_thresholds, load_thresholds
from classify.independent import independent_means, load_singles
from classify.run_files import load_held_out, load_test
from index.claims.expected_gain import PRIOR, HeldOut, Judge, Transfers, learn, weigh

CONFIDENCE = 0.99  # the probability that a match is right, which find-leaks guarantees
WITHOUT_ONE_OFF = PRIOR.sum() * np.array([0.9, 0.0, 0.1])
RIGHT, ONE_OFF, RANDOM = "right", "one label off", "random"
WAYS = ("after", "before", "classifier", "copied", "only right")
# Shares of the label sets that are transferred, the mean probability of wrong ones to be right, and
# the estimated share of wrong ones.
FIGURES = (RIGHT, ONE_OFF, RANDOM, "wrong", "p of wrong", "estimated")


def mislabel(data: Path, out: Path, wrong: float = 0.3, seed: int = 0) -> None:
    """Copy an atlas, and make the labels of a share of the sources of copies wrong in train.csv."""
    rng, labels = np.random.default_rng(seed), read_labels(data)
    truth_NC = label_matrix(list(labels.values()), len(read_spec(data).labels))
    given = {i: row.copy() for i, row in zip(labels, truth_NC, strict=True)}
    sources = sorted(set(_copies(data)["source"]))
    chosen = rng.choice(sources, round(wrong * len(sources)), replace=False)
    for n, image_id in enumerate(chosen):
        own = given[image_id]
        if n % 2:
            others = truth_NC[(truth_NC != own).any(axis=1)]
            given[image_id] = others[rng.integers(len(others))]
        else:
            remove = own.sum() > 1 and rng.random() < 0.5
            weights = own if remove else (1 - own) * truth_NC.sum(axis=0)
            own[rng.choice(len(own), p=weights / weights.sum())] ^= 1
    shutil.copytree(data, out)
    table = load_texts(data / "train.csv")
    texts = {i: format_labels(np.flatnonzero(given[i]).tolist()) for i in chosen}
    table["Target"] = table["Id"].map(texts).fillna(table["Target"])
    table.to_csv(out / "train.csv", index=False)


def compare(
    data: Path,
    mislabelled: Path,
    folds: Path,
    wrong: tuple[float, ...] = (0.0, 0.1, 0.3),
    matched: int = 200,
    redraws: int = 50,
    claims: Path | None = None,
) -> None:
    """Print what is transferred, and the macro F1, with mean and central 95% over redraws.

    Each redraw takes `matched` of the copies, of which a share has wrongly labelled sources, and
    all test images that are no copies. `claims` is a table to write with the probability that each
    match's labels are right, for `reliability_diagrams.py`.
    """
    bench = _bench(data, mislabelled, folds)
    judged: list[pd.DataFrame] = []
    table = Table("wrong", "way", *FIGURES, "macro F1", "minus better of both")
    for share in wrong:
        found = [compare_once(bench, share, matched, seed) for seed in range(redraws)]
        rows = pd.DataFrame([figures for figures, _ in found])
        judged += [table for _, table in found]
        better = rows[["classifier", "copied"]].mean().idxmax()
        for way in WAYS:
            figures = FIGURES if way in WAYS[:2] else ()
            made = [f"{rows[f'{way} {name}'].mean():.3f}" for name in figures] or [""] * len(
                FIGURES
            )
            table.add_row(f"{share:.0%}", way, *made, _reported(rows[way]),
                          _reported(rows[way] - rows[better]))  # fmt: skip
    Console(width=180).print(table)
    if claims is not None:
        pd.concat(judged).to_csv(claims, index=False)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Axes: N test images, L copies, C classes."""

    judge: Judge
    probabilities_NC: np.ndarray
    predicted_NC: np.ndarray
    truth_NC: np.ndarray
    copies_L: np.ndarray  # rows of the copies
    given_LC: np.ndarray  # the labels of their sources in the table
    kind_L: np.ndarray
    independent_LC: np.ndarray


def _bench(data: Path, mislabelled: Path, folds: Path) -> Bench:
    names = read_spec(data).labels
    given, tests = read_labels(mislabelled), load_test(folds)
    true = _truth(data).set_index("Id")["Target"]
    truth_NC = label_matrix([parse_labels(true[i]) for i in tests.ids], len(names))
    copies = _copies(data)
    row_of = {image_id: n for n, image_id in enumerate(tests.ids)}
    copies_L = np.array([row_of[i] for i in copies["Id"]])
    given_LC = label_matrix([given[i] for i in copies["source"]], len(names))
    differing_L = (given_LC != truth_NC[copies_L]).sum(axis=1)
    found = load_held_out(folds)
    said_HC = found.probabilities_NC.astype(float)
    held_out = HeldOut(
        submitted_HC=said_HC,
        judging_HC=said_HC,
        truth_HC=label_matrix([given[i] for i in found.ids], len(names)),
    )
    return Bench(
        judge=learn(held_out, seed=0),
        probabilities_NC=tests.probabilities_NC.astype(float),
        predicted_NC=apply_thresholds(tests.probabilities_NC, load_thresholds(folds, names)),
        truth_NC=truth_NC,
        copies_L=copies_L,
        given_LC=given_LC,
        kind_L=np.array([RIGHT, ONE_OFF, RANDOM])[np.minimum(differing_L, 2)],
        independent_LC=independent_means(
            load_singles(folds),
            [(i, [source]) for i, source in zip(copies["Id"], copies["source"], strict=True)],
            class_count=len(names),
        ),
    )


def compare_once(
    bench: Bench, wrong: float, matched: int, seed: int
) -> tuple[dict[str, float], pd.DataFrame]:
    rng, is_right_L = np.random.default_rng(seed), bench.kind_L == RIGHT
    count = round(wrong * matched)
    drawn = np.concatenate(
        [
            rng.choice(np.flatnonzero(pool), size, replace=False)
            for pool, size in ((~is_right_L, count), (is_right_L, matched - count))
        ]
    )
    others = np.setdiff1d(np.arange(len(bench.truth_NC)), bench.copies_L)
    rows = np.concatenate([bench.copies_L[drawn], others])
    said, predicted, truth = (
        x[rows] for x in (bench.probabilities_NC, bench.predicted_NC, bench.truth_NC)
    )
    labels, kind = bench.given_LC[drawn], bench.kind_L[drawn]
    copied = predicted.copy()
    copied[:matched] = labels
    only_right = np.where((kind == RIGHT)[:, None], labels, predicted[:matched])
    found = {
        "classifier": macro_f1(truth, predicted),
        "copied": macro_f1(truth, copied),
        "only right": macro_f1(truth, np.concatenate([only_right, predicted[matched:]])),
    }
    judged: list[pd.DataFrame] = []
    for way, judging, prior in (
        ("after", bench.independent_LC[drawn], PRIOR),
        ("before", said[:matched], WITHOUT_ONE_OFF),
    ):
        transfers = Transfers(
            rows_R=np.arange(matched),
            labels_RC=labels,
            confidence_R=np.full(matched, CONFIDENCE),
            judging_RC=judging,
        )
        weighed = weigh(bench.judge, said, predicted, transfers, seed=seed, prior=prior)
        right = {"confidence": weighed.right_R, "right": (kind == RIGHT).astype(int)}
        judged.append(pd.DataFrame({"way": way, **right, "weight": 1.0}))
        ours = predicted.copy()
        ours[np.flatnonzero(weighed.made_R)] = labels[weighed.made_R]
        found[way] = macro_f1(truth, ours)
        for name in (RIGHT, ONE_OFF, RANDOM):
            of_kind = weighed.made_R[kind == name]
            found[f"{way} {name}"] = of_kind.mean() if len(of_kind) else np.nan
        found[f"{way} wrong"] = weighed.made_R[kind != RIGHT].mean() if count else np.nan
        found[f"{way} p of wrong"] = weighed.right_R[kind != RIGHT].mean() if count else np.nan
        found[f"{way} estimated"] = 1 - weighed.shares.right
    return found, pd.concat(judged)


def _copies(data: Path) -> pd.DataFrame:
    truth = _truth(data)
    return truth[truth["relation"] == SAME_IMAGE]


def _truth(data: Path) -> pd.DataFrame:
    truth = read_truth(data)
    if truth is None:
        raise UserError(f"{data} has no truth.csv; give an atlas that draw-atlas drew")
    return truth


def _reported(values: pd.Series) -> str:
    low, high = values.quantile([0.025, 0.975])
    return f"{values.mean():.4f} ({low:.4f} to {high:.4f})"


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"mislabel": mislabel, "compare": compare})
