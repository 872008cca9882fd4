"""Explanations of rows of a submission: what every stage contributed, as a page for each image.

Axes: 1 image, C labels, H rows, W columns.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import MissingStageError, Stage, UserError, command_line
from atlas.core.files import AnyPath
from atlas.core.locks import locked
from atlas.core.row_cache import cache_folder
from atlas.dataset.image_keys import keys_of
from atlas.dataset.labels import parse_labels
from atlas.dataset.manifest import ImageRow, Manifest
from atlas.dataset.picture_files import file_name_of
from atlas.dataset.queries import open_files
from atlas.report.explanation_page import (
    Bar,
    Classifier,
    Decision,
    Explanation,
    Picture,
    Truth,
    picture_uri,
    save_explanation,
)
from atlas.report.picture_pairs import heated
from atlas.workflows.classify.activation_maps import images_of, mean_maps, open_classifiers
from atlas.workflows.explain.match import (
    Draw,
    candidates,
    claim_of,
    draw_of,
    neighbour,
    plots,
    rests_on,
)
from atlas.workflows.explain.run_so_far import Classified, RunSoFar, Submitted, read_run
from atlas.workflows.made_from import images_of_leaks, images_of_predictions, stale_images
from atlas.workflows.run_folder import maker_of
from classify.decisions.thresholds import apply_thresholds

NEAR_IDS = 3


def explain(
    ids: str | Sequence[str],
    data: AnyPath = "data",
    run: AnyPath = "runs",
    out: AnyPath | None = None,
    *,
    classifier: AnyPath | None = None,
) -> list[Path]:
    """Write a page for each test image that explains how its row of the submission came to be.

    Args:
        ids: Test images: one id, or several.
        data: The atlas folder.
        run: The run folder.
        out: An .html file for one image, or a folder; RUN/explanations, unless given.
        classifier: The folder whose probabilities are shown, in place of the submission's own.

    Returns:
        The paths of the pages.

    Raises:
        UserError: An id is no test image; the text names ids that are like it.

    Example:
        >>> atlas.explain("1fffd2fe", "data", "runs")  # doctest: +SKIP
    """
    place = Path(run) / "explanations" if out is None else Path(out)
    with locked(place, command=command_line("explain")):
        so_far = read_run(Path(data), Path(run), None if classifier is None else Path(classifier))
        names = tuple(dict.fromkeys([ids] if isinstance(ids, str) else ids))
        _require_test_ids(names, so_far)
        paths = _places(names, place)
        for name, path in zip(names, paths, strict=True):
            save_explanation(path, explanation_of(name, so_far))
    return paths


def _require_test_ids(names: Sequence[str], run: RunSoFar) -> None:
    if not names:
        raise UserError("there is nothing to explain; give ids of sample_submission.csv")
    known = set(run.test_ids)
    for name in names:
        if name in known:
            continue
        if name in run.labels:
            raise UserError(
                f"{name} is a labelled image, which has no row in a submission; "
                f"{command_line('lookup')} shows its neighbours"
            )
        near = difflib.get_close_matches(name, run.test_ids, n=NEAR_IDS, cutoff=0.5)
        meant = f"did you mean {', '.join(near)}?" if near else "see sample_submission.csv"
        raise UserError(f"{run.data} has no test image {name}; {meant}")


def _places(names: Sequence[str], out: Path) -> list[Path]:
    if out.suffix.lower() != ".html":
        return [out / f"{file_name_of(name)}.html" for name in names]
    if len(names) > 1:
        raise UserError(f"--out {out} is one file; give a folder for {len(names)} images")
    return [out]


def explanation_of(name: str, run: RunSoFar) -> Explanation:
    """Return what the run has computed for one test image so far."""
    draw = draw_of(name, run)
    leaks, classified, submitted = run.leaks, run.classified, run.submitted
    said = _said_by(name, classified) if classified else None
    examined = candidates(name, run)
    shown = [name, *(examined["match_id"] if len(examined) else ())]
    return Explanation(
        id=name,
        atlas=run.spec.name,
        label_names=run.spec.labels,
        large=draw.shown(draw.own, "all channels"),
        channels=draw.channels(),
        neighbours=[neighbour(row, draw) for row in examined.to_dict("records")],
        examined=leaks is not None,
        claim=claim_of(name, leaks, draw) if leaks else None,
        rests_on=rests_on(leaks) if leaks else (),
        plots=plots(name, leaks) if leaks else (),
        classifier=said,
        maps=_maps_of_given(name, classified, said.bars, draw) if classified and said else (),
        decision=_decision(name, submitted) if submitted else None,
        truth=_truth(name, run),
        missing=run.missing,
        notes=(*_notes(run), *_notes_of_images(shown, run)),
    )


def _decision(name: str, submitted: Submitted) -> Decision | None:
    row = submitted.row_of.get(name)
    if row is None:
        return None
    return Decision(
        final=parse_labels(row["labels"]),
        without=parse_labels(row["without"]),
        origin=row["origin"],
        match_id=row["match_id"],
        final_decision=row["final_decision"],
        gain=None if pd.isna(row["expected_gain"]) else row["expected_gain"],
        reason=row["reason"],
    )


def _truth(name: str, run: RunSoFar) -> Truth | None:
    row = run.truth_of.get(name)
    if row is None:
        return None
    relation, source = row.get("relation", ""), row.get("source", "")
    return Truth(labels=parse_labels(row["Target"]), relation=relation, source=source)


def _notes(run: RunSoFar) -> list[str]:
    """Return a note for each part of the run that does not fit the others."""
    notes, classified, submitted = [], run.classified, run.submitted
    if run.folder.state(Stage.LEAKS) == "stale":
        notes.append(
            "The leaks were found with another embedder than that of the index. "
            f"Run {Stage.LEAKS.command} again."
        )
    if classified and submitted and submitted.classifier != classified.tests.provenance:
        if maker_of(submitted.classifier) == maker_of(classified.tests.provenance):
            what = f"The predictions of {classified.folder.name} are newer than the submission. Run"
        else:
            what = (
                f"The submission was made from another classifier than {classified.folder.name}. "
                "Name its folder with --classifier, or run"
            )
        notes.append(f"{what} {Stage.SUBMISSION.command} again.")
    return notes


def _notes_of_images(ids: Sequence[str], run: RunSoFar) -> list[str]:
    """Return a note if one of these images has changed since the stages of the run saw it."""
    keys = keys_of(_manifest_of(ids, run), cache_folder(run.folder.leaks))
    results = [images_of_leaks(run.folder.leaks, keys, run.test_ids)]
    if run.classified:
        results.append(images_of_predictions(run.classified.folder, run.classified.tests))
    line = stale_images(keys, results)
    return [f"{line[0].upper()}{line[1:]}."] if line else []


def _said_by(name: str, classified: Classified) -> Classifier:
    """Return the probabilities and thresholds: the given labels first, then by probability."""
    thresholds_C = classified.thresholds.per_class_C
    said_1C = classified.tests.aligned_to([name]).probabilities_NC
    given_C = apply_thresholds(said_1C, classified.thresholds)[0]
    bars = [
        Bar(
            label=label,
            probability=float(said_1C[0, label]),
            threshold=float(thresholds_C[label]),
            given=bool(given_C[label]),
            carried=label not in classified.thresholds.without_positives,
        )
        for label in range(len(thresholds_C))
    ]
    return Classifier(
        folder=classified.folder.name,
        bars=sorted(bars, key=lambda bar: (not bar.given, -bar.probability)),
    )


def _maps_of_given(
    name: str, classified: Classified, bars: Sequence[Bar], draw: Draw
) -> list[Picture]:
    """Draw where the classifier looked for each label that it gives, if its weights are there."""
    given = [bar for bar in bars if bar.given]
    manifest = _manifest_of([name], draw.run)
    try:
        asked = open_classifiers(classified.folder, manifest)
    except MissingStageError:  # the probabilities may come from another machine
        return []
    images = images_of(asked, manifest, [name])
    maps = mean_maps(asked, images, {name: [bar.label for bar in given]})
    picture = draw.rgb(images[name])
    return [_picture(bar, draw.run.spec.labels, picture, maps[name, bar.label]) for bar in given]


def _manifest_of(ids: Sequence[str], run: RunSoFar) -> Manifest:
    """Return a manifest of these images alone: reading the whole atlas would take a minute."""
    found = open_files(run.spec, run.data)
    rows = (
        ImageRow(id=i, split="test", files=found.query(i).files, width_px=0, height_px=0)
        for i in ids
    )
    return Manifest(spec=run.spec, rows=tuple(rows))


def _picture(
    bar: Bar, names: Sequence[str], picture: NDArray[np.float32], map_HW: NDArray[np.float32]
) -> Picture:
    said = f"{bar.label} {names[bar.label]}"
    if not map_HW.any():
        said += ": no pixels support it"
    return Picture(said=said, uri=picture_uri(heated(picture, map_HW)))
