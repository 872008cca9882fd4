"""Update of a run whose tables gained or lost images; nothing is trained.

Only new images cost time, because classifiers do not change. The thresholds of folds are moved to
the scale of the mean again. An ensemble fits its combination and thresholds again, with its
members' predictions of held-out images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from atlas.core.contents import CONTENTS_FILE
from atlas.core.errors import MissingStageError, ProvenanceError, Stage, UserError, command_line
from atlas.core.files import AnyPath, InFolder
from atlas.core.locks import locked, writes
from atlas.core.result_files import read_json, was_written
from atlas.core.row_cache import cache_folder
from atlas.core.row_file import DamagedFileError
from atlas.dataset.artifacts import ProbabilitySet, load_table, save_probabilities
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import fill_store
from atlas.workflows.classify.ensemble import ensemble
from atlas.workflows.embed.index import Index, build_index
from atlas.workflows.leaks.calibration import load_calibration
from atlas.workflows.leaks.finding import LeakFinding, find_leaks_again
from atlas.workflows.leaks.search import load_further
from atlas.workflows.run_folder import RunFolder, maker_of
from atlas.workflows.runs.added import forget_moved, move_into_atlas
from atlas.workflows.submit.submission import MadeSubmission, make_submission
from classify.classifier import load_classifier
from classify.decisions.settings import DecisionSettings, ThresholdSettings
from classify.decisions.thresholds import load_thresholds
from classify.folds import save_mean
from classify.prediction import predict
from classify.run_files import (
    ENSEMBLE_FILE,
    PREDICTED_FOLDER,
    SUMMARY_FILE,
    TEST_FILE,
    classifiers_in,
    load_held_out,
    load_test,
)
from classify.settings import PredictionSettings
from index.index_folder import EMBEDDER_FOLDER, IndexFolder, load_index
from index.search.open_search import search_settings_of


@dataclass(frozen=True, kw_only=True)
class Updated(InFolder):
    """A run folder that was updated.

    Attributes:
        folder: The run folder.
        added, removed: The ids of labelled images that were added and removed.
        leaks, submission: The new leaks and submission, if the run has them.
    """

    folder: Path
    added: frozenset[str]
    removed: frozenset[str]
    leaks: LeakFinding | None
    submission: MadeSubmission | None

    @property
    def summary(self) -> str:
        """The result in one or more sentences."""
        said = (
            f"The run is up to date: {len(self.added)} labelled images were added and "
            f"{len(self.removed)} were removed."
        )
        made = (self.leaks, self.submission)
        return " ".join([said, *(each.summary for each in made if each)])


@writes("run")
def update(data: AnyPath = "data", run: AnyPath = "runs") -> Updated:
    """Bring index, leaks, predictions and submission of a run up to date, as far as it has them.

    Images that were added by `atlas serve` are moved into the atlas first. The embedder, the
    calibration and the classifiers stay as they are, and what they gave for
    images that did not change is kept; so the result is that of a full run with them. The
    submission is made from the classifier, the folds or the ensemble that it was made from before.

    Args:
        data: The atlas folder, whose tables name the images that there are now.
        run: The folder that holds index, and perhaps leaks, classifiers and submission.

    Raises:
        MissingStageError: There is no index.
        ProvenanceError: The run does not hold what the submission was made from, or a further index
            is another one now.
        UserError: An added image cannot be moved into the atlas.

    Example:
        >>> atlas.update("data", "runs").added  # doctest: +SKIP
    """
    data, run = Path(data), Path(run)
    folder = RunFolder(run)
    if not folder.has(Stage.INDEX):
        raise MissingStageError(folder.index, Stage.INDEX)
    _require_lists(folder)
    source = _submitted_classifier(folder) if folder.has(Stage.SUBMISSION) else None
    index = load_index(folder.index)
    further = _further_indexes(folder, index)
    before = set(index.ids)
    moved = move_into_atlas(data, folder)
    after = set(_build_again(data, folder.index).opened.ids)
    forget_moved(moved, tuple(after))
    leaks = submission = None
    if folder.has(Stage.LEAKS):
        for other in further:
            _build_again(data, other)
        leaks = find_leaks_again(data, folder.index, folder.leaks)
    bring_up_to_date(data, folder)
    if source is not None:
        submission = make_submission(data, folder.leaks, source, folder.submission)
    return Updated(
        folder=run,
        added=frozenset(after - before),
        removed=frozenset(before - after),
        leaks=leaks,
        submission=submission,
    )


def _further_indexes(run: RunFolder, index: IndexFolder) -> list[Path]:
    """Return the further indexes of the leaks of a run, which may be built again.

    Raises:
        UserError: One is missing.
        ProvenanceError: One is of another atlas now, or has another embedder.
    """
    if not run.has(Stage.LEAKS):
        return []
    held = load_calibration(run.leaks)
    folders = [Path(name) for name in held.settings.further_indexes]
    for folder, embedder in zip(folders, held.further_embedders, strict=True):
        other = load_further(folder)
        # An update that was stopped may have built one of them again, so their rows may differ.
        same_atlas = other.data.resolve() == index.data.resolve()
        if not same_atlas or other.provenance["embedder"] != embedder:
            raise ProvenanceError(
                f"{folder} is not the index with which {run.leaks} was made; run  "
                f"{Stage.LEAKS.command}  again"
            )
    return folders


def _build_again(data: Path, index: Path) -> Index:
    """Build an index again with its own embedder and settings."""
    embedder = str(index / EMBEDDER_FOLDER)
    return build_index(data, embedder, index, search_settings_of(index), runtime=None)


def bring_up_to_date(data: Path, run: RunFolder) -> None:
    """Predict the current test images of the atlas with every classifier of a run.

    Members are updated before their ensembles. Folders of probabilities from elsewhere do not
    change, and nothing changes if the atlas has no test images.
    """
    if not run.classifiers:
        return
    manifest = read_manifest(data)
    if not manifest.of("test").rows:
        return
    members = {folder: _members(run, folder) for folder in run.classifiers}
    for folder in TopologicalSorter(members).static_order():
        with locked(folder, command=command_line("update")):
            if members[folder]:
                _join_again(data, folder, members[folder])
            elif networks := classifiers_in(folder):
                _predict_again(manifest, folder, networks)


def _require_lists(run: RunFolder) -> None:
    """Check that every result has its list of contents, before long work starts.

    Raises:
        DamagedFileError: A list was removed, so its folder may not be replaced.
    """
    results = {run.index: Stage.INDEX, run.leaks: Stage.LEAKS, run.submission: Stage.SUBMISSION}
    there = {folder: stage for folder, stage in results.items() if run.has(stage)}
    there |= {f: Stage.ENSEMBLE for f in run.classifiers if was_written(f / ENSEMBLE_FILE)}
    for folder, stage in there.items():
        if not (folder / CONTENTS_FILE).exists():
            raise DamagedFileError(
                folder / CONTENTS_FILE,
                f"is missing, so the folder may not be replaced; remove {folder}, run  "
                f"{stage.command}  and  {command_line('update')}",
            )


def _submitted_classifier(run: RunFolder) -> Path:
    source = run.submitted_classifier
    if source is None:
        raise ProvenanceError(
            f"{run.submission} was made from a classifier that is not in {run.path}; first run "
            f"{Stage.SUBMISSION.command} with a --classifier from this folder"
        )
    return source


def _predict_again(manifest: Manifest, folder: Path, networks: Mapping[str, Path]) -> None:
    """Predict test images with the views and crops of the folder's earlier predictions."""
    before = _predicted(folder).provenance
    # The provenance of folds has an entry for each fold; that of one classifier is its own.
    of_folds = before.get("mean_of", before.get("out_of_fold"))
    made: dict[str, ProbabilitySet] = {}
    for name, provenance in (of_folds or dict.fromkeys(networks, before)).items():
        if name not in networks:
            raise MissingStageError(folder / name, Stage.CLASSIFIER)
        classifier = load_classifier(networks[name])
        made[name] = predict(
            classifier,
            fill_store(manifest, cache_folder(folder), size_px=classifier.image_size_px),
            manifest.of("test").ids,
            folder=cache_folder(folder) / PREDICTED_FOLDER,
            prediction=PredictionSettings(**provenance["prediction"]),
        )
        save_probabilities(networks[name] / TEST_FILE, made[name])
    if of_folds:
        names = manifest.spec.labels
        save_mean(folder, made, load_thresholds(folder, names, of="held_out"), names)


def _predicted(folder: Path) -> ProbabilitySet:
    """Return the predictions of test images, or of held-out images if the atlas had no others."""
    return load_test(folder) if was_written(folder / TEST_FILE) else load_held_out(folder)


def _members(run: RunFolder, folder: Path) -> list[Path]:
    """Return the members of an ensemble in their original order; none for a classifier."""
    if not was_written(folder / ENSEMBLE_FILE):
        return []
    members = read_json(folder / ENSEMBLE_FILE)["members"]
    given = load_table(folder / SUMMARY_FILE)["members"].tolist()  # it names several in order
    makers = {other: _held_out_maker(other) for other in run.classifiers if other != folder}
    found = []
    for name in sorted(members, key=lambda name: given.index(name) if name in given else 0):
        wanted = maker_of(members[name]["held_out"]["provenance"])
        same = [other for other, maker in makers.items() if maker == wanted]
        if not same:
            raise ProvenanceError(
                f"{folder} was made from {name}, which is no longer in {run.path} or has changed; "
                f"run {Stage.ENSEMBLE.command} again"
            )
        found.append(next((other for other in same if other.name == name), same[0]))
    return found


def _held_out_maker(folder: Path) -> Any:
    """Return the maker of the held-out predictions, or None if there are none."""
    try:
        return maker_of(load_held_out(folder).provenance)
    except MissingStageError:
        return None


def _join_again(data: Path, folder: Path, members: list[Path]) -> None:
    about = read_json(folder / ENSEMBLE_FILE)["ensemble"]
    # Only a comparison of all ways has several ways of choosing thresholds.
    compare = load_table(folder / SUMMARY_FILE)["thresholds"].nunique() > 1
    ensemble(data, members, folder, _settings(folder, about), compare=compare)


def _settings(folder: Path, about: Mapping[str, Any]) -> DecisionSettings:
    """Return the settings from JSON, which has no paths and no tuples."""
    try:
        shares = about["thresholds"]["wanted_shares"]
        thresholds = {
            **about["thresholds"],
            "wanted_shares": None if shares is None else Path(shares),
        }
        priors = tuple(about["priors"])
        return DecisionSettings(
            **{**about, "priors": priors, "thresholds": ThresholdSettings(**thresholds)}
        )
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder / ENSEMBLE_FILE} was written by an earlier version ({error}); "
            f"run {Stage.ENSEMBLE.command} again"
        ) from error
