"""A run brought up to date with tables that gained or lost images; nothing is trained."""

from dataclasses import dataclass
from pathlib import Path

from atlas.core.errors import MissingStageError, ProvenanceError, Stage
from atlas.workflows.embed.index import build_index_of
from atlas.workflows.leaks.finding import LeakFinding, find_leaks_again
from atlas.workflows.run_folder import RunFolder
from atlas.workflows.runs.classifiers import bring_up_to_date
from atlas.workflows.submit.submission import SubmissionSummary, make_submission_of
from index.index_folder import EMBEDDER_FOLDER, load_index
from index.search.open_search import search_settings_of


@dataclass(frozen=True, kw_only=True)
class Updated:
    """added, removed: ids of labelled images. leaks, submission: where the run has them."""

    added: frozenset[str]
    removed: frozenset[str]
    leaks: LeakFinding | None
    submission: SubmissionSummary | None


def update_run(data: Path, run: Path) -> Updated:
    """Bring index, leaks, predictions and submission of a run up to date, as far as it has them.

    The embedder, the calibration and the classifiers stay as they are, and what they gave for
    images that did not change is kept; so the result is that of a full run with them. The
    submission is made from the classifier, the folds or the ensemble that it was made from before.

    Raises:
        MissingStageError: There is no index.
        ProvenanceError: The run does not hold what the submission was made from.
    """
    folder = RunFolder(run)
    if not folder.has(Stage.INDEX):
        raise MissingStageError(folder.index, Stage.INDEX)
    source = _submitted_classifier(folder) if folder.has(Stage.SUBMISSION) else None
    before = set(load_index(folder.index).embeddings.ids)
    embedder, search = str(folder.index / EMBEDDER_FOLDER), search_settings_of(folder.index)
    built = build_index_of(data, embedder, folder.index, search, runtime=None)
    after = set(built.index.embeddings.ids)
    leaks = submission = None
    if folder.has(Stage.LEAKS):
        leaks = find_leaks_again(data, folder.index, folder.leaks)
    bring_up_to_date(data, folder)
    if source is not None:
        submission = make_submission_of(data, folder.leaks, source, folder.submission)
    return Updated(
        added=frozenset(after - before),
        removed=frozenset(before - after),
        leaks=leaks,
        submission=submission,
    )


def _submitted_classifier(run: RunFolder) -> Path:
    source = run.submitted_classifier
    if source is None:
        raise ProvenanceError(
            f"{run.submission} was made from a classifier that is not in {run.path}; "
            f"run first  {Stage.SUBMISSION.command}  with a --classifier that is"
        )
    return source
