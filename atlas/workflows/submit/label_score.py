"""The score of submitted labels: macro F1 with and without transfer, by relation and by claim.

Axes: N images, C labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import Stage
from atlas.dataset.artifacts import SAME_IMAGE, SIBLING, LeakReport, load_table
from atlas.dataset.labels import parse_labels
from atlas.dataset.metrics import (
    bootstrap_macro_f1,
    bootstrap_macro_f1_difference,
    f1_by_class,
    label_matrix,
    macro_f1,
)
from atlas.workflows.run_folder import SUBMISSION_FILE, WITHOUT_TRANSFER_FILE

ALL, UNKNOWN = "all", ""
CLASS_COLUMNS = ("label", "name", "images", "f1_without", "f1_with", "difference")

_Labels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its 95% interval by bootstrap."""

    value: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.interval[0]:.3f} to {self.interval[1]:.3f})"

    @property
    def signed(self) -> str:
        """The value and its interval with signs."""
        return f"{self.value:+.4f} ({self.interval[0]:+.4f} to {self.interval[1]:+.4f})"


@dataclass(frozen=True, kw_only=True)
class RelationScore:
    """The macro F1 of the images of one relation, with and without transferred labels.

    Attributes:
        relation: The relation, or "all".
        images: The number of images.
        groups: The number of groups; the bootstrap draws whole groups.
        labels: The number of labels in the mean. For "all" it is every label, as in the challenge.
            For a relation it is the labels of its images, because the others could not be right.
        with_transfer: The macro F1 with transferred labels.
        without_transfer: The macro F1 without transferred labels.
        difference: The first minus the second, paired.
    """

    relation: str
    images: int
    groups: int
    labels: int
    with_transfer: Estimate
    without_transfer: Estimate
    difference: Estimate


@dataclass(frozen=True, kw_only=True)
class ClaimGain:
    """What the claims of one relation change in the macro F1 of all test images.

    Attributes:
        relation: The relation that is claimed.
        rows: The number of rows whose labels these claims change.
        macro_f1: The macro F1 if only these claims transfer labels.
        difference: The difference to the macro F1 without transferred labels, paired.
    """

    relation: str
    rows: int
    macro_f1: Estimate
    difference: Estimate


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """The scores of the labels, by true relation, by claim, and as a table of CLASS_COLUMNS."""

    by_relation: list[RelationScore]
    by_claim: list[ClaimGain]
    by_class: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The truth and the submitted labels, with and without transfer, for the same images.

    Attributes:
        relations_N: The relations of truth.csv.
        groups_N: The group of each image, such as its antibody.
        truth_NC: The true labels.
        with_NC: The submitted labels.
        without_NC: The labels without transfer.
        claims_N: The relation of the claim on each image, "" if there is none.
    """

    relations_N: NDArray[np.object_]
    groups_N: NDArray[np.object_]
    truth_NC: _Labels
    with_NC: _Labels
    without_NC: _Labels
    claims_N: NDArray[np.object_]

    def of(self, relation: str) -> "Answers":
        """Return the images of a relation, with the labels that any of them has."""
        chosen_N = self.relations_N == relation
        held_C = self.truth_NC[chosen_N].any(axis=0)
        return Answers(
            relations_N=self.relations_N[chosen_N],
            groups_N=self.groups_N[chosen_N],
            truth_NC=self.truth_NC[chosen_N][:, held_C],
            with_NC=self.with_NC[chosen_N][:, held_C],
            without_NC=self.without_NC[chosen_N][:, held_C],
            claims_N=self.claims_N[chosen_N],
        )


def read_answers(
    submission: Path,
    truth: pd.DataFrame,
    identities: dict[str, str],
    leaks: LeakReport,
    label_count: int,
) -> Answers:
    """Read the submitted labels of the images of the truth.

    Images are grouped by the identity they show: that of a copy's source, or `source` for others.

    Args:
        submission: The folder of the submission.
        truth: The columns Id, relation, source and Target.
        identities: The identities of references by id, "" if unknown.
        leaks: The claims.
        label_count: The number of labels of the atlas.

    Raises:
        MissingStageError: There is no submission.
    """

    def matrix(texts: pd.Series) -> _Labels:
        return label_matrix([parse_labels(str(text)) for text in texts], label_count)

    def predicted(name: str) -> _Labels:
        table = load_table(submission / name, stage=Stage.SUBMISSION).set_index("Id")
        return matrix(table.loc[truth["Id"], "Predicted"])

    groups = [
        identities.get(source) or source or image_id
        for image_id, source in zip(truth["Id"], truth["source"], strict=True)
    ]
    claimed_of = dict(zip(leaks.table["Id"], leaks.table["relation"], strict=True))
    return Answers(
        relations_N=truth["relation"].to_numpy(object),
        groups_N=np.array(groups, object),
        truth_NC=matrix(truth["Target"]),
        with_NC=predicted(SUBMISSION_FILE),
        without_NC=predicted(WITHOUT_TRANSFER_FILE),
        claims_N=np.array([claimed_of.get(i, "") for i in truth["Id"]], object),
    )


def relation_scores(answers: Answers, *, seed: int = 0) -> list[RelationScore]:
    """Score all images, the copies, the siblings, and the images of every other relation."""
    others = sorted(set(answers.relations_N) - {SAME_IMAGE, SIBLING, UNKNOWN})
    names = [name for name in (SAME_IMAGE, SIBLING, *others) if name in answers.relations_N]
    parts = [(ALL, answers), *((name, answers.of(name)) for name in names)]
    return [_relation_score(name, part, seed) for name, part in parts]


def claim_gains(answers: Answers, *, seed: int = 0) -> list[ClaimGain]:
    """Return what the claims of copies alone change, and those of siblings alone."""
    gains = []
    for relation in (SAME_IMAGE, SIBLING):
        only_N1 = (answers.claims_N == relation)[:, None]
        labels_NC = np.where(only_N1, answers.with_NC, answers.without_NC)
        made, difference = _scored(answers, labels_NC, seed)
        gains.append(
            ClaimGain(
                relation=relation,
                rows=int((labels_NC != answers.without_NC).any(axis=1).sum()),
                macro_f1=made,
                difference=difference,
            )
        )
    return gains


def class_scores(answers: Answers, names: Sequence[str]) -> pd.DataFrame:
    """Return one row of CLASS_COLUMNS for each label: F1 with and without transferred labels."""
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
    """Return the labels whose F1 changes most, in either direction."""
    changed = scores[scores["difference"].abs() > 0]
    order = changed["difference"].abs().sort_values(ascending=False, kind="stable").index
    return changed.loc[order[:count]]


def _relation_score(relation: str, part: Answers, seed: int) -> RelationScore:
    with_transfer, difference = _scored(part, part.with_NC, seed)
    return RelationScore(
        relation=relation,
        images=len(part.truth_NC),
        groups=len(set(part.groups_N)),
        labels=part.truth_NC.shape[1],
        with_transfer=with_transfer,
        without_transfer=_macro_f1(part, part.without_NC, seed),
        difference=difference,
    )


def _scored(part: Answers, labels_NC: _Labels, seed: int) -> tuple[Estimate, Estimate]:
    """Return the macro F1 of labels, and its difference to that without transfer, paired."""
    made = _macro_f1(part, labels_NC, seed)
    before_NC = part.without_NC
    return made, Estimate(
        value=made.value - macro_f1(part.truth_NC, before_NC),
        interval=bootstrap_macro_f1_difference(
            part.truth_NC, labels_NC, before_NC, groups_N=list(part.groups_N), seed=seed
        ),
    )


def _macro_f1(part: Answers, labels_NC: _Labels, seed: int) -> Estimate:
    return Estimate(
        value=macro_f1(part.truth_NC, labels_NC),
        interval=bootstrap_macro_f1(
            part.truth_NC, labels_NC, groups_N=list(part.groups_N), seed=seed
        ),
    )
