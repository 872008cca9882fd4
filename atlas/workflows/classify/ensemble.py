"""An ensemble of classifiers, with a score that is measured on images that did not influence it.

Axes: N held-out images, C classes.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.core.files import AnyPath, InFolder, write_json
from atlas.core.locks import writes
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import (
    ProbabilitySet,
    common_keys,
    load_table,
    save_probabilities,
    save_table,
)
from atlas.dataset.image_keys import keys_of
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.metrics import f1_by_class
from atlas.workflows.classify.members import (
    Member,
    asked_rows,
    held_out_rows,
    load_members,
    names_of,
)
from classify.decisions.cross_fitting import (
    CrossFitted,
    Decided,
    Honest,
    cross_fit,
    decided,
    honest_scores,
)
from classify.decisions.layers import HeldOutRows
from classify.decisions.mistakes import find_mistakes, save_mistakes
from classify.decisions.settings import (
    HOWS,
    THRESHOLD_METHODS,
    DecisionSettings,
    How,
    Prior,
    ThresholdSettings,
)
from classify.decisions.thresholds import save_thresholds
from classify.run_files import ENSEMBLE_FILE, OUT_OF_FOLD_FILE, SUMMARY_FILE, TEST_FILE

CLASSES_FILE = "f1_by_class.csv"


@dataclass(frozen=True, kw_only=True)
class Ensemble(InFolder):
    """An ensemble of classifiers and the folder that contains it.

    Attributes:
        folder: The folder.
        table: The rows of summary.csv; the first is the chosen way.
        without: Labels with too few images to fit anything to; they take the mean of the members.
    """

    folder: Path
    table: pd.DataFrame
    without: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        best = self.table.iloc[0]
        return (
            f"The ensemble has a macro F1 of {best['nested']:.4f} "
            f"(95% interval {best['low']:.4f} to {best['high']:.4f}), measured on held-out images "
            "that did not influence it."
        )


@writes("out")
def ensemble(
    data: AnyPath = "data",
    members: Sequence[AnyPath] = ("runs/folds",),
    out: AnyPath = "runs/ensemble",
    settings: DecisionSettings = DecisionSettings(),
    *,
    compare: bool = False,
) -> Ensemble:
    """Combine classifiers, choose thresholds, and measure macro F1 on independent images.

    The folder that is written can be used wherever that of a classifier can. The table also has
    each member alone, and the ensemble without class priors and with each of them.

    Args:
        data: The atlas folder.
        members: The folders of classifiers, folds or ensembles.
        out: The folder to write.
        settings: How the members are combined.
        compare: Also score every way of combining with every way of choosing thresholds.

    Raises:
        DataError: The data folder has problems.
        UserError: The settings cannot work, or the members do not fit together.

    Example:
        >>> atlas.ensemble("data", ["runs/folds", "runs/gapnet"])  # doctest: +SKIP
    """
    data, out, folders = Path(data), Path(out), [Path(member) for member in members]
    check_replaceable(out, "ensemble")
    manifest = read_manifest(data)
    keys = keys_of(manifest, cache_folder(out))
    loaded = load_members(manifest, names_of(folders), keys)
    rows = held_out_rows(manifest, loaded, folds=settings.folds, seed=settings.seed)
    names, wanted_C = manifest.spec.labels, _wanted(settings, manifest.spec.labels)
    fitted = cross_fit(rows, asked_rows(manifest, loaded), settings.how, seed=settings.seed)
    made = decided(fitted, settings.thresholds, settings.priors, wanted_C=wanted_C)
    chosen = _score(fitted, settings, wanted_C)
    fits: dict[tuple[int | None, How], CrossFitted] = {(None, settings.how): fitted}
    scored = [_row("all", settings, chosen)]
    for m, way in _other_ways(settings, len(rows.names), compare=compare):
        own = rows if m is None else rows.of_member(m)
        if (m, way.how) not in fits:
            fits[m, way.how] = cross_fit(own, own.asked(), way.how, seed=way.seed)
        score = _score(fits[m, way.how], way, wanted_C)
        scored.append(_row("all" if m is None else rows.names[m], way, score))
    table = pd.DataFrame(scored)
    provenance = {
        "ensemble": asdict(settings),
        "members": {name: member.about() for name, member in loaded.items()},
    }
    with folder_written_beside(out, written_by="ensemble") as folder:
        _write(folder, manifest, rows, made, provenance, list(loaded.values()))
        save_table(folder / CLASSES_FILE, _by_class(rows, chosen, names))
        save_table(folder / SUMMARY_FILE, table)
        learned = {"combiner": fitted.combiner.kept, **made.kept}
        # As seen from the ensemble, so that a run can be moved as a whole.
        places = [os.path.relpath(member.resolve(), out.resolve()) for member in folders]
        about = {**provenance, "folders": places, "learned": learned}
        write_json(folder / ENSEMBLE_FILE, about)
    without = tuple(names[c] for c in fitted.combiner.without)
    return Ensemble(folder=out, table=table, without=without)


def _other_ways(
    settings: DecisionSettings, members: int, *, compare: bool
) -> Iterator[tuple[int | None, DecisionSettings]]:
    """Yield the other ways to decide, each with the number of its only member, or None for all."""
    alone: list[tuple[Prior, ...]] = [(), *((prior,) for prior in settings.priors)]
    for priors in alone if settings.priors else ():
        if priors != settings.priors:
            yield None, replace(settings, priors=priors)
    for m in range(members) if members > 1 else ():
        yield m, replace(settings, how="mean", priors=())
    for how, name in (
        product(HOWS if members > 1 else HOWS[:1], THRESHOLD_METHODS) if compare else ()
    ):
        thresholds = ThresholdSettings(thresholds=name, keep_top=settings.thresholds.keep_top)
        chosen = name == settings.thresholds.thresholds
        way = replace(
            settings, how=how, priors=(), thresholds=settings.thresholds if chosen else thresholds
        )
        if way != settings:
            yield None, way


def _score(
    fitted: CrossFitted, way: DecisionSettings, wanted_C: NDArray[np.float64] | None
) -> Honest:
    return honest_scores(
        fitted,
        way.thresholds,
        way.priors,
        wanted_C=wanted_C,
        resamples=way.resamples,
        seed=way.seed,
    )


def _row(members: str, way: DecisionSettings, score: Honest) -> dict[str, Any]:
    return {
        "members": members,
        "how": way.how,
        "thresholds": way.thresholds.thresholds,
        "priors": " ".join(way.priors),
        "nested": score.nested,
        "low": score.low,
        "high": score.high,
        "optimistic": score.optimistic,
        "optimism": score.optimism,
    }


def _write(
    folder: Path,
    manifest: Manifest,
    rows: HeldOutRows,
    made: Decided,
    provenance: dict[str, Any],
    members: Sequence[Member],
) -> None:
    names, tests = manifest.spec.labels, manifest.of("test").ids
    held_out = ProbabilitySet(
        ids=rows.ids,
        probabilities_NC=made.held_out_NC,
        provenance=provenance,
        image_keys=common_keys([one.held_out.aligned_to(rows.ids) for one in members]),
    )
    save_probabilities(folder / OUT_OF_FOLD_FILE, held_out)
    if tests:
        asked = ProbabilitySet(
            ids=tests,
            probabilities_NC=made.asked_QC,
            provenance=provenance,
            image_keys=common_keys([one.test.aligned_to(tests) for one in members]),
        )
        save_probabilities(folder / TEST_FILE, asked)
        for number, network_QC in enumerate(made.networks_KQC, start=1):
            if len(made.networks_KQC) > 1:  # an ensemble of this ensemble needs them
                one = replace(asked, probabilities_NC=network_QC)
                save_probabilities(folder / f"fold{number}" / TEST_FILE, one)
    save_thresholds(folder, made.thresholds, names, held_out=made.held_out_thresholds)
    save_mistakes(folder, find_mistakes(held_out, rows.truth_NC, made.held_out_thresholds, names))


def _by_class(rows: HeldOutRows, chosen: Honest, names: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": range(len(names)),
            "name": names,
            "images": rows.truth_NC.sum(axis=0, dtype=np.int64),
            "nested": f1_by_class(rows.truth_NC, chosen.nested_NC),
            "optimistic": f1_by_class(rows.truth_NC, chosen.optimistic_NC),
        }
    )


def _wanted(settings: DecisionSettings, names: Sequence[str]) -> NDArray[np.float64] | None:
    """Return the shares of the labels in their order, or None if there is no file of shares.

    Raises:
        UserError: The file does not give all shares.
    """
    path = settings.thresholds.wanted_shares
    if path is None:
        return None
    try:
        if path.suffix == ".json":
            shares = {str(k): float(v) for k, v in json.loads(path.read_text("utf-8")).items()}
        else:
            table = load_table(path)
            shares = dict(zip(table["label"], table["share"].astype(float), strict=True))
        wanted_C = np.array([shares[str(c)] for c in range(len(names))])
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: give a share for each label number 0..{len(names) - 1}, as a CSV with the "
            f"columns label and share or as a JSON object ({error})"
        ) from None
    if not ((wanted_C >= 0) & (wanted_C <= 1)).all():
        raise UserError(f"{path}: a share is out of range 0 to 1")
    return wanted_C
