"""A run brought up to date with tables that gained or lost images; nothing is learned anew."""

from dataclasses import dataclass
from pathlib import Path

from atlas.core.errors import MissingStageError, Stage
from atlas.core.row_cache import cache_folder
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from atlas.workflows.embed.index import build_index_of
from atlas.workflows.leaks.calibration import CALIBRATION_FILE
from atlas.workflows.leaks.finding import LeakFinding, find_leaks_again
from atlas.workflows.submit.submission import SUMMARY_FILE, SubmissionSummary, make_submission_of
from classify.classifier import load_classifier
from classify.held_out import predict_test
from classify.run_files import CARD_FILE, PREDICTED_FOLDER
from index.index_folder import EMBEDDER_FOLDER, INDEX_FILE, load_index
from index.search.open_search import search_settings_of


@dataclass(frozen=True, kw_only=True)
class Updated:
    """added, removed: ids of labelled images. leaks, submission: where the run has them."""

    added: frozenset[str]
    removed: frozenset[str]
    leaks: LeakFinding | None
    submission: SubmissionSummary | None


def update_run(data: Path, run: Path) -> Updated:
    """Index, leaks, the classifier's probabilities and submission in `run`, as far as it has them.

    The embedder, the calibration and the classifier stay as they are, and what they said of images
    that did not change is kept; so the result is that of a full run with them.
    """
    index_folder = run / "index"
    if not (index_folder / INDEX_FILE).exists():
        raise MissingStageError(index_folder, Stage.INDEX)
    before = set(load_index(index_folder).embeddings.ids)
    embedder = str(index_folder / EMBEDDER_FOLDER)
    search = search_settings_of(index_folder)
    built = build_index_of(data, embedder, index_folder, search, runtime=None)
    after = set(built.index.embeddings.ids)
    leaks = submission = None
    if (run / "leaks" / CALIBRATION_FILE).exists():
        leaks = find_leaks_again(data, index_folder, run / "leaks")
    if (run / "classifier" / CARD_FILE).exists():
        _predict(data, run / "classifier")
        if (run / "submission" / SUMMARY_FILE).exists():
            submission = make_submission_of(
                data, run / "leaks", run / "classifier", run / "submission"
            )
    return Updated(
        added=frozenset(after - before),
        removed=frozenset(before - after),
        leaks=leaks,
        submission=submission,
    )


def _predict(data: Path, folder: Path) -> None:
    manifest = read_manifest(data)
    classifier = load_classifier(folder)
    store = fill_store(manifest, cache_folder(folder), size_px=classifier.image_size_px)
    predict_test(classifier, manifest, store, folder, kept=cache_folder(folder) / PREDICTED_FOLDER)
