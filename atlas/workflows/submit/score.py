"""Against a truth table: what was found, what was claimed wrongly, what the labels are worth."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from atlas.core.errors import DataError, Stage
from atlas.core.files import write_json
from atlas.dataset.artifacts import LeakReport, load_leaks, load_table, save_table
from atlas.dataset.metrics import exact_interval
from atlas.dataset.spec import read_spec
from atlas.workflows.submit.check import check_submission_of
from atlas.workflows.submit.label_scores import TwinScore, class_scores, read_answers, twin_scores
from index.claims.leaks import SAME_IMAGE, SIBLING

UNSURE = "unsure"
SCORE_FILE = "score.json"
CLASS_FILE = "score_by_class.csv"


@dataclass(frozen=True, kw_only=True)
class Share:
    """A count of a count, with its exact 95 % interval (Clopper-Pearson)."""

    count: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        return exact_interval(self.count, self.of)

    def __str__(self) -> str:
        if not self.of:
            return "0 of 0"
        low, high = self.interval
        return f"{self.count} of {self.of} ({self.count / self.of:.3f}; {low:.3f} to {high:.3f})"


@dataclass(frozen=True, kw_only=True)
class LeakScore:
    """copies_by_edit: found of planted, by edit and "all"; found means: claimed with its source.

    false_copies: test images that are no copies and yet claimed, of all such; rows whose truth is
    unsure count on neither side. sibling_precision: right identity of claims; sibling_recall:
    claimed rightly of all siblings.
    """

    copies_by_edit: dict[str, Share]
    false_copies: Share
    sibling_precision: Share
    sibling_recall: Share
    false_copy_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """twins: macro F1 in both worlds, of all and by relation; by_class: CLASS_COLUMNS."""

    twins: list[TwinScore]
    by_class: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class RunScore:
    """labels: None where nothing was submitted. written: the files."""

    leaks: LeakScore
    labels: LabelScore | None
    written: tuple[Path, ...]


def score_leaks(
    leaks: LeakReport, truth: pd.DataFrame, identities: dict[str, str], *, by_edit: bool
) -> LeakScore:
    """truth: Id, relation, source, edit; identities: of reference ids.

    by_edit: whether the column `edit` names edits.
    """
    claims = leaks.table.set_index("Id")
    copies = truth[truth["relation"] == SAME_IMAGE]
    claimed_copies = claims[claims["relation"] == SAME_IMAGE]
    found = [
        i in claimed_copies.index and claimed_copies.at[i, "match_id"] == source
        for i, source in zip(copies["Id"], copies["source"], strict=True)
    ]
    table = pd.DataFrame({"edit": copies["edit"].to_numpy(), "found": found})
    groups = [("all", table), *(table.groupby("edit") if by_edit else [])]
    others = truth[~truth["relation"].isin([SAME_IMAGE, UNSURE])]["Id"]
    false_ids = tuple(i for i in others if i in claimed_copies.index)
    siblings = truth[truth["relation"] == SIBLING].set_index("Id")["source"]
    told = claims[claims["relation"] == SIBLING]
    told = told[~told.index.isin(truth[truth["relation"] == UNSURE]["Id"])]
    right = sum(siblings.get(i) == identities.get(m) for i, m in told["match_id"].items())
    return LeakScore(
        copies_by_edit={
            str(name): Share(count=int(rows["found"].sum()), of=len(rows)) for name, rows in groups
        },
        false_copies=Share(count=len(false_ids), of=len(others)),
        sibling_precision=Share(count=right, of=len(told)),
        sibling_recall=Share(count=right, of=len(siblings)),
        false_copy_ids=false_ids,
    )


def score_run(data: Path, run: Path) -> RunScore:
    """Scores RUN/leaks, and RUN/submission where it is, against DATA/truth.csv.

    Writes RUN/score.json and, of a submission, RUN/score_by_class.csv. Raises MissingStageError
    naming what is not there, DataError for a truth.csv or a submission that is none.
    """
    if not (data / "truth.csv").exists():
        raise DataError(str(data), ["no truth.csv (Id,relation,source,edit,Target) to score by"])
    truth = load_table(data / "truth.csv")
    leaks = load_leaks(run / "leaks" / "leaks.csv", stage=Stage.LEAKS)
    train = load_table(run / "index" / "references.csv", stage=Stage.INDEX)
    identities = dict(zip(train["Id"], train["Identity"], strict=True))
    by_edit = not pd.to_numeric(truth["edit"], errors="coerce").notna().any()
    leak_score = score_leaks(leaks, truth, identities, by_edit=by_edit)
    label_score = None
    written = [run / SCORE_FILE]
    if (run / "submission" / "submission.csv").exists():
        label_score = _score_labels(data, run / "submission", truth, identities)
        save_table(run / CLASS_FILE, label_score.by_class)
        written.append(run / CLASS_FILE)
    twins = label_score.twins if label_score else None
    write_json(run / SCORE_FILE, {"leaks": leak_score, "labels": twins})
    return RunScore(leaks=leak_score, labels=label_score, written=tuple(written))


def _score_labels(
    data: Path, submission: Path, truth: pd.DataFrame, identities: dict[str, str]
) -> LabelScore:
    check_submission_of(data, submission / "submission.csv")
    names = read_spec(data).labels
    answers = read_answers(submission, truth, identities, len(names))
    return LabelScore(twins=twin_scores(answers), by_class=class_scores(answers, names))
