"""What a submission's labels are worth with the transferred ones and without them.

Axes: N images, C labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import Stage
from atlas.dataset.artifacts import load_table
from atlas.dataset.labels import parse_labels
from atlas.dataset.metrics import (
    bootstrap_macro_f1,
    bootstrap_macro_f1_difference,
    f1_by_class,
    label_matrix,
    macro_f1,
)
from index.claims.leaks import SAME_IMAGE, SIBLING

ALL = "all"
CLASS_COLUMNS = ("label", "name", "images", "f1_without", "f1_with", "difference")

Labels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval, by bootstrap."""

    value: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.interval[0]:.3f} to {self.interval[1]:.3f})"

    @property
    def signed(self) -> str:
        return f"{self.value:+.4f} ({self.interval[0]:+.4f} to {self.interval[1]:+.4f})"


@dataclass(frozen=True, kw_only=True)
class TwinScore:
    """Macro F1 of the images of one relation in both worlds.

    labels: how many the mean is over: for "all" every label, as the challenge scored; for a
    relation those that its images carry, for the others could not be right there.
    groups: images that are drawn together count as one. difference: with less without, paired.
    """

    relation: str
    images: int
    groups: int
    labels: int
    with_transfer: Estimate
    without_transfer: Estimate
    difference: Estimate


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Truth, and what was submitted with transferred labels and without, for the same images.

    relations_N: of truth.csv. groups_N: what is drawn together, such as an antibody.
    """

    relations_N: NDArray[np.object_]
    groups_N: NDArray[np.object_]
    truth_NC: Labels
    with_NC: Labels
    without_NC: Labels

    def of(self, chosen_N: NDArray[np.bool_]) -> "Answers":
        """Some images, and the labels that any of them carries."""
        held_C = self.truth_NC[chosen_N].any(axis=0)

        def part(rows_NC: Labels) -> Labels:
            return rows_NC[chosen_N][:, held_C]

        return Answers(
            relations_N=self.relations_N[chosen_N], groups_N=self.groups_N[chosen_N],
            truth_NC=part(self.truth_NC), with_NC=part(self.with_NC),
            without_NC=part(self.without_NC),
        )  # fmt: skip


def read_answers(
    submission: Path, truth: pd.DataFrame, identities: dict[str, str], label_count: int
) -> Answers:
    """truth: Id, relation, source, Target; identities: of reference ids, "" where none is known.

    Images are drawn together by the identity they show: that of a copy's source, or what `source`
    names for others. Raises MissingStageError where no submission is there.
    """

    def predicted(name: str) -> Labels:
        table = load_table(submission / name, stage=Stage.SUBMISSION)
        by_id = table.set_index("Id")["Predicted"]
        return label_matrix([parse_labels(str(by_id[i])) for i in truth["Id"]], label_count)

    groups = [
        identities.get(source) or source or image_id
        for image_id, source in zip(truth["Id"], truth["source"], strict=True)
    ]
    return Answers(
        relations_N=truth["relation"].to_numpy(object),
        groups_N=np.array(groups, object),
        truth_NC=label_matrix([parse_labels(text) for text in truth["Target"]], label_count),
        with_NC=predicted("submission.csv"),
        without_NC=predicted("submission_without_transfer.csv"),
    )


def twin_scores(answers: Answers, *, seed: int = 0) -> list[TwinScore]:
    """Of all images, of the copies, of the siblings, and of every other relation there is."""
    there = list(dict.fromkeys(answers.relations_N))
    ordered = [name for name in (SAME_IMAGE, SIBLING) if name in there]
    ordered += sorted(name for name in there if name not in ordered)
    parts = [(name, answers.of(answers.relations_N == name)) for name in ordered]
    return [_twin(name, part, seed) for name, part in [(ALL, answers), *parts]]


def _twin(relation: str, part: Answers, seed: int) -> TwinScore:
    truth, groups = part.truth_NC, list(part.groups_N)

    def score(predicted_NC: Labels) -> Estimate:
        interval = bootstrap_macro_f1(truth, predicted_NC, groups_N=groups, seed=seed)
        return Estimate(value=macro_f1(truth, predicted_NC), interval=interval)

    with_transfer, without_transfer = score(part.with_NC), score(part.without_NC)
    interval = bootstrap_macro_f1_difference(
        truth, part.with_NC, part.without_NC, groups_N=groups, seed=seed
    )
    return TwinScore(
        relation=relation,
        images=len(truth),
        groups=len(set(groups)),
        labels=truth.shape[1],
        with_transfer=with_transfer,
        without_transfer=without_transfer,
        difference=Estimate(value=with_transfer.value - without_transfer.value, interval=interval),
    )


def class_scores(answers: Answers, names: Sequence[str]) -> pd.DataFrame:
    """CLASS_COLUMNS, a row for each label: F1 without transferred labels and with, and images."""
    without, with_transfer = (
        f1_by_class(answers.truth_NC, predicted)
        for predicted in (answers.without_NC, answers.with_NC)
    )
    columns = (
        range(len(names)), names, answers.truth_NC.sum(axis=0, dtype=np.int64), without,
        with_transfer, with_transfer - without,
    )  # fmt: skip
    return pd.DataFrame(dict(zip(CLASS_COLUMNS, columns, strict=True)))


def top_changes(scores: pd.DataFrame, count: int) -> pd.DataFrame:
    """The labels whose F1 changes most, in either direction; none that does not change."""
    changed = scores[scores["difference"].abs() > 0]
    order = changed["difference"].abs().sort_values(ascending=False, kind="stable").index
    return changed.loc[order[:count]]
