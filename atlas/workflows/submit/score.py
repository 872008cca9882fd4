"""The score of a run against `DATA/truth.csv`: leaks found, and macro F1 with and without transfer.

Axes: N images, C labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import DataError, Stage
from atlas.core.files import write_json
from atlas.core.locks import writes
from atlas.core.result_files import was_written
from atlas.dataset.artifacts import (
    NOVEL,
    SAME_IMAGE,
    SIBLING,
    LeakReport,
    load_table,
    save_table,
)
from atlas.dataset.labels import parse_labels
from atlas.dataset.metrics import (
    Share,
    bootstrap_macro_f1,
    bootstrap_macro_f1_difference,
    f1_by_class,
    label_matrix,
    macro_f1,
)
from atlas.dataset.spec import read_spec
from atlas.dataset.truth import TRUTH_COLUMNS, TRUTH_FILE, read_truth
from atlas.workflows.leaks.verdicts import CurrentClaims
from atlas.workflows.run_folder import (
    SIBLINGS_FILE,
    SUBMISSION_FILE,
    WITHOUT_TRANSFER_FILE,
    RunFolder,
)
from atlas.workflows.submit.check import check_submission_of
from index.index_folder import REFERENCES_FILE
from retrieval.evaluation.identification import identification_of

# A relation of truth.csv that claims do not have.
UNSURE = "unsure"
_ALL, _UNKNOWN = "all", ""
CLASS_COLUMNS = ("label", "name", "images", "f1_without", "f1_with", "difference")
SCORE_FILE = "score.json"
CLASS_FILE = "score_by_class.csv"

_Labels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class LeakScore:
    """The score of the claims. Rows with an unknown or unsure relation are not counted.

    Each copy is found, claimed with a wrong source, or missed; a copy that is claimed to be a
    sibling is missed.

    Attributes:
        copies_by_edit: The share of copies that are found, which means that they are claimed to be
            copies of their source, by edit and for "all".
        wrong_source: The share of copies that are claimed to be copies of another image.
        missed: The share of copies that are not claimed to be copies.
        false_copies: The share of the other test images that are claimed to be copies.
        sibling_precision: The share of sibling claims with the right identity.
        sibling_labels: The share of sibling claims whose match has the labels of the image.
        sibling_recall: The share of siblings that are claimed with their identity.
        sibling_identified: The share of siblings whose best identity is right, with a score above
            those of all but 1% of the novel images (detection and identification rate); None if
            there are too few novel images, or no scores.
        wrong_source_ids: The test images of `wrong_source`.
        false_copy_ids: The test images of `false_copies`.
    """

    copies_by_edit: dict[str, Share]
    wrong_source: Share
    missed: Share
    false_copies: Share
    sibling_precision: Share
    sibling_labels: Share
    sibling_recall: Share
    sibling_identified: Share | None
    wrong_source_ids: tuple[str, ...]
    false_copy_ids: tuple[str, ...]


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
class RunScore:
    """The score of a run.

    Attributes:
        leaks: The score of the claims.
        labels: The score of the submission, or None without one.
        written: The files that were written.
    """

    leaks: LeakScore
    labels: LabelScore | None
    written: tuple[Path, ...]

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        copies, false = self.leaks.copies_by_edit[_ALL], self.leaks.false_copies
        said = (
            f"{copies.count} of {copies.of} copies were found, "
            f"{self.leaks.wrong_source.count} were claimed with a wrong source, and "
            f"{false.count} other images were falsely claimed to be copies"
        )
        if self.labels is None:
            return f"{said}; there is no submission yet."
        every = self.labels.by_relation[0]
        return (
            f"{said}; the macro F1 is {every.without_transfer} without transferred labels and "
            f"{every.with_transfer} with them."
        )


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


@writes("run", command="score")
def score_run(data: Path, run: Path) -> RunScore:
    """Score RUN/leaks and, if there is one, RUN/submission against DATA/truth.csv.

    Writes RUN/score.json and, for a submission, RUN/score_by_class.csv.

    Raises:
        MissingStageError: There are no leaks, or there is no index.
        DataError: There is no truth.csv, or it or the submission has problems.
    """
    truth = read_truth(data)
    if truth is None:
        columns = ", ".join(TRUTH_COLUMNS)
        raise DataError(
            str(data), [f"there is no {TRUTH_FILE}; add one with the columns {columns}"]
        )
    truth = truth.reindex(columns=list(TRUTH_COLUMNS), fill_value="")
    folder = RunFolder(run)
    leaks = CurrentClaims(data=data, folder=folder.leaks).leaks
    references = load_table(folder.index / REFERENCES_FILE, stage=Stage.INDEX)
    identities = dict(zip(references["Id"], references["Identity"], strict=True))
    leak_score = score_leaks(
        leaks,
        truth,
        identities,
        labels=dict(zip(references["Id"], map(parse_labels, references["Target"]), strict=True)),
        siblings=load_table(folder.leaks / SIBLINGS_FILE, stage=Stage.LEAKS),
        by_edit=_names_edits(truth["edit"]),
    )
    label_score = None
    written = [run / SCORE_FILE]
    if was_written(folder.submission / SUBMISSION_FILE):
        check_submission_of(data, folder.submission / SUBMISSION_FILE)
        names = read_spec(data).labels
        answers = read_answers(folder.submission, truth, identities, leaks, len(names))
        label_score = LabelScore(
            by_relation=relation_scores(answers),
            by_claim=claim_gains(answers),
            by_class=class_scores(answers, names),
        )
        save_table(run / CLASS_FILE, label_score.by_class)
        written.append(run / CLASS_FILE)
    by_relation, by_claim = (
        (label_score.by_relation, label_score.by_claim) if label_score else (None, None)
    )
    about = {"leaks": leak_score, "labels": by_relation, "claims": by_claim}
    write_json(run / SCORE_FILE, about)
    return RunScore(leaks=leak_score, labels=label_score, written=tuple(written))


def top_changes(scores: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the labels whose F1 changes most, in either direction."""
    changed = scores[scores["difference"].abs() > 0]
    order = changed["difference"].abs().sort_values(ascending=False, kind="stable").index
    return changed.loc[order[:count]]


def score_leaks(
    leaks: LeakReport,
    truth: pd.DataFrame,
    identities: dict[str, str],
    *,
    labels: dict[str, tuple[int, ...]],
    siblings: pd.DataFrame,
    by_edit: bool,
) -> LeakScore:
    """Compare claims with the truth.

    Args:
        leaks: The claims.
        truth: The columns Id, relation, source, edit and Target.
        identities: The identities of references, by id.
        labels: The labels of references, by id.
        siblings: The best identity of each test image, with the columns Id, identity and
            sibling_score.
        by_edit: Whether copies are also counted by their edit.
    """
    claims = leaks.table.set_index("Id")
    known = truth[~truth["relation"].isin([UNSURE, _UNKNOWN])]
    copy_claims, sibling_claims = (
        claims.loc[claims["relation"] == name, "match_id"] for name in (SAME_IMAGE, SIBLING)
    )
    copies = known[known["relation"] == SAME_IMAGE]
    claimed = copies["Id"].isin(copy_claims.index)
    found = copies.assign(found=copies["Id"].map(copy_claims).eq(copies["source"]))
    wrong_ids = tuple(copies.loc[claimed & ~found["found"], "Id"])
    groups = [(_ALL, found), *(found.groupby("edit") if by_edit else [])]
    others = known.loc[known["relation"] != SAME_IMAGE, "Id"]
    false_ids = tuple(i for i in others if i in copy_claims.index)
    identity_of = known[known["relation"] == SIBLING].set_index("Id")["source"].to_dict()
    targets = known.set_index("Id")["Target"].map(parse_labels).to_dict()
    sibling_claims = sibling_claims[sibling_claims.index.isin(known["Id"])]
    # A match may have inherited its identity from a copy, so the claimed one decides.
    claimed_of = siblings.set_index("Id")["identity"].to_dict()
    right = sum(
        i in identity_of and identity_of[i] == claimed_of.get(i, identities.get(match))
        for i, match in sibling_claims.items()
    )
    equal = sum(
        sorted(labels.get(match, ())) == sorted(targets[i]) for i, match in sibling_claims.items()
    )
    return LeakScore(
        copies_by_edit={
            str(name): Share(count=int(rows["found"].sum()), of=len(rows)) for name, rows in groups
        },
        wrong_source=Share(count=len(wrong_ids), of=len(copies)),
        missed=Share(count=int((~claimed).sum()), of=len(copies)),
        false_copies=Share(count=len(false_ids), of=len(others)),
        sibling_precision=Share(count=right, of=len(sibling_claims)),
        sibling_labels=Share(count=equal, of=len(sibling_claims)),
        sibling_recall=Share(count=right, of=len(identity_of)),
        sibling_identified=_identified(siblings, known),
        wrong_source_ids=wrong_ids,
        false_copy_ids=false_ids,
    )


def _identified(siblings: pd.DataFrame, known: pd.DataFrame) -> Share | None:
    """Return the share of siblings that are identified, as LeakScore documents it."""
    if siblings.empty:
        return None
    shown = known[known["relation"].isin([SIBLING, NOVEL])].merge(siblings, on="Id", how="left")
    found = identification_of(
        pd.to_numeric(shown["sibling_score"]).fillna(0.0).to_numpy(float),
        genuine_Q=shown["relation"].eq(SIBLING).to_numpy(bool),
        right_Q=shown["identity"].eq(shown["source"]).to_numpy(bool),
    )
    return Share(count=found.identified, of=found.genuine) if found else None


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
    others = sorted(set(answers.relations_N) - {SAME_IMAGE, SIBLING, _UNKNOWN})
    names = [name for name in (SAME_IMAGE, SIBLING, *others) if name in answers.relations_N]
    parts = [(_ALL, answers), *((name, answers.of(name)) for name in names)]
    return [_relation_score(name, part, seed) for name, part in parts]


def claim_gains(answers: Answers, *, seed: int = 0) -> list[ClaimGain]:
    """Return what the claims of copies alone change, and those of siblings alone."""
    gains = []
    for relation in (SAME_IMAGE, SIBLING):
        only_N1 = (answers.claims_N == relation)[:, None]
        labels_NC = np.where(only_N1, answers.with_NC, answers.without_NC)
        scored = _relation_score(relation, replace(answers, with_NC=labels_NC), seed)
        gains.append(
            ClaimGain(
                relation=relation,
                rows=int((labels_NC != answers.without_NC).any(axis=1).sum()),
                macro_f1=scored.with_transfer,
                difference=scored.difference,
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


def _names_edits(edits: pd.Series) -> bool:
    """Return whether the column names edits; in some atlases it has numbers or is empty."""
    return bool(edits.ne("").any() and pd.to_numeric(edits, errors="coerce").isna().all())


def _relation_score(relation: str, part: Answers, seed: int) -> RelationScore:
    truth, groups = part.truth_NC, list(part.groups_N)

    def estimate(
        value: float, interval: Callable[..., tuple[float, float]], *rows: _Labels
    ) -> Estimate:
        return Estimate(value=value, interval=interval(truth, *rows, groups_N=groups, seed=seed))

    with_transfer, without_transfer = (
        estimate(macro_f1(truth, rows_NC), bootstrap_macro_f1, rows_NC)
        for rows_NC in (part.with_NC, part.without_NC)
    )
    change = with_transfer.value - without_transfer.value
    return RelationScore(
        relation=relation,
        images=len(truth),
        groups=len(set(groups)),
        labels=truth.shape[1],
        with_transfer=with_transfer,
        without_transfer=without_transfer,
        difference=estimate(change, bootstrap_macro_f1_difference, part.with_NC, part.without_NC),
    )
