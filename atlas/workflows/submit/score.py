"""The score of a run against `DATA/truth.csv`: what was found, and what it changes in macro F1."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

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
)
from atlas.dataset.spec import read_spec
from atlas.dataset.truth import TRUTH_COLUMNS, TRUTH_FILE, read_truth
from atlas.workflows.leaks.verdicts import CurrentClaims
from atlas.workflows.run_folder import (
    SIBLINGS_FILE,
    SUBMISSION_FILE,
    RunFolder,
)
from atlas.workflows.submit.check import check_submission_of
from atlas.workflows.submit.label_score import (
    ALL,
    UNKNOWN,
    LabelScore,
    claim_gains,
    class_scores,
    read_answers,
    relation_scores,
)
from index.index_folder import REFERENCES_FILE
from retrieval.evaluation.identification import identification_of

# A relation of truth.csv that claims do not have.
UNSURE = "unsure"
SCORE_FILE = "score.json"
CLASS_FILE = "score_by_class.csv"


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
        copies, false = self.leaks.copies_by_edit[ALL], self.leaks.false_copies
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
    known = truth[~truth["relation"].isin([UNSURE, UNKNOWN])]
    copy_claims, sibling_claims = (
        claims.loc[claims["relation"] == name, "match_id"] for name in (SAME_IMAGE, SIBLING)
    )
    copies = known[known["relation"] == SAME_IMAGE]
    claimed = copies["Id"].isin(copy_claims.index)
    found = copies.assign(found=copies["Id"].map(copy_claims).eq(copies["source"]))
    wrong_ids = tuple(copies.loc[claimed & ~found["found"], "Id"])
    groups = [(ALL, found), *(found.groupby("edit") if by_edit else [])]
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


def _names_edits(edits: pd.Series) -> bool:
    """Return whether the column names edits; in some atlases it has numbers or is empty."""
    return bool(edits.ne("").any() and pd.to_numeric(edits, errors="coerce").isna().all())
