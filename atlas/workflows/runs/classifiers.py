"""The classifiers, folds and ensembles of a run follow an atlas whose test images changed.

Nothing is trained. A classifier predicts as it did before, so only new images cost time. An
ensemble fits anew what decides for its members, from what these predicted for held-out images.
"""

from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from atlas.core.errors import MissingStageError, ProvenanceError, Stage, UserError
from atlas.core.files import read_json
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import (
    ProbabilitySet,
    load_table,
    save_probabilities,
)
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.store import fill_store
from atlas.workflows.classify.ensemble import ABOUT_FILE, SUMMARY_FILE, make_ensemble
from atlas.workflows.run_folder import RunFolder, maker_of
from classify.classifier import load_classifier
from classify.decisions.settings import DecisionSettings, ThresholdSettings
from classify.prediction import mean_over, predict
from classify.run_files import PREDICTED_FOLDER, TEST_FILE, classifiers_in, load_held_out, load_test
from classify.settings import PredictionSettings


def bring_up_to_date(data: Path, run: RunFolder) -> None:
    """Predict the test images that the atlas has now by every classifier of a run.

    Members come before the ensembles that are made of them. Folders of probabilities that come from
    elsewhere stay as they are, and so does everything where the atlas has no test images.
    """
    if not run.classifiers:
        return
    manifest = read_manifest(data)
    if not manifest.of("test").rows:
        return
    members = {folder: _members(run, folder) for folder in run.classifiers}
    for folder in TopologicalSorter(members).static_order():
        if members[folder]:
            _join_again(data, folder, members[folder])
        elif networks := classifiers_in(folder):
            _predict_again(manifest, folder, networks)


def _predict_again(manifest: Manifest, folder: Path, networks: Mapping[str, Path]) -> None:
    """With the views and crops that the folder's predictions were made with."""
    before = _predicted(folder).provenance
    # Of folds the provenance names each; of one classifier it is its own.
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
        save_probabilities(folder / TEST_FILE, mean_over(made))


def _predicted(folder: Path) -> ProbabilitySet:
    """What was predicted of test images, or of held-out images where the atlas had no others."""
    return load_test(folder) if (folder / TEST_FILE).exists() else load_held_out(folder)


def _members(run: RunFolder, folder: Path) -> list[Path]:
    """The members of an ensemble, in the order that they were given in; none of a classifier."""
    if not (folder / ABOUT_FILE).exists():
        return []
    members = read_json(folder / ABOUT_FILE)["members"]
    given = load_table(folder / SUMMARY_FILE)["members"].tolist()  # it names several in order
    makers = {other: _held_out_maker(other) for other in run.classifiers if other != folder}
    found = []
    for name in sorted(members, key=lambda name: given.index(name) if name in given else 0):
        wanted = maker_of(members[name]["held_out"]["provenance"])
        same = [other for other, maker in makers.items() if maker == wanted]
        if not same:
            raise ProvenanceError(
                f"{folder} was made from {name}, which is not in {run.path} as it was: "
                f"run  {Stage.ENSEMBLE.command}  again"
            )
        found.append(next((other for other in same if other.name == name), same[0]))
    return found


def _held_out_maker(folder: Path) -> Any:
    """None where predictions come from elsewhere, without any of held-out images."""
    try:
        return maker_of(load_held_out(folder).provenance)
    except MissingStageError:
        return None


def _join_again(data: Path, folder: Path, members: list[Path]) -> None:
    about = read_json(folder / ABOUT_FILE)["ensemble"]
    # Only a comparison of all ways has several ways of choosing thresholds.
    compare = load_table(folder / SUMMARY_FILE)["thresholds"].nunique() > 1
    make_ensemble(data, members, folder, _settings(folder, about), compare=compare)


def _settings(folder: Path, about: Mapping[str, Any]) -> DecisionSettings:
    """JSON has texts where the settings have paths, and lists where they have tuples."""
    try:
        shares = about["cuts"]["wanted_shares"]
        cuts = {**about["cuts"], "wanted_shares": None if shares is None else Path(shares)}
        priors = tuple(about["priors"])
        return DecisionSettings(**{**about, "priors": priors, "cuts": ThresholdSettings(**cuts)})
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder / ABOUT_FILE}: of an earlier version ({error}); run  {Stage.ENSEMBLE.command}"
        ) from error
