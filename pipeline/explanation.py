"""How rows of a submission came to be: every stage's part in them, as pages."""

import difflib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from atlas.errors import UserError
from atlas.labels import parse_labels
from pipeline.explanation_classifier import said_by
from pipeline.explanation_drawing import draw_of
from pipeline.explanation_maps import maps_of_given
from pipeline.explanation_match import candidates, claim_of, neighbour, plots, rests_on
from pipeline.run_reading import RunSoFar, Submitted, read_run
from report.explanation_page import Decision, Explanation, Truth, save_explanation

NEAR_IDS = 3


def explain(
    ids: Sequence[str], data: Path, runs: Path, out: Path | None, *, classifier: Path | None = None
) -> list[Path]:
    """Writes a page for each test image; to `out` itself where there is one image.

    out: an .html file, or a folder where there are several images; RUNS/explanations by default.
    Raises UserError for an id that is no test image, naming ids that are like it.
    """
    run = read_run(data, runs, classifier)
    names = tuple(dict.fromkeys(ids))
    _require_test_ids(names, run)
    paths = _places(names, out or runs / "explanations")
    for name, path in zip(names, paths, strict=True):
        save_explanation(path, explanation_of(name, run))
    return paths


def _require_test_ids(names: Sequence[str], run: RunSoFar) -> None:
    if not names:
        raise UserError("nothing to explain; give ids of sample_submission.csv")
    known = set(run.test_ids)
    for name in names:
        if name in known:
            continue
        if name in run.labels:
            raise UserError(f"{name} is a labelled image, which no submission has a row for; "
                            f"scripts/lookup.py shows its neighbours")  # fmt: skip
        near = difflib.get_close_matches(name, run.test_ids, n=NEAR_IDS, cutoff=0.5)
        meant = f"did you mean {', '.join(near)}?" if near else "see sample_submission.csv"
        raise UserError(f"{name}: no test image of {run.data} has that id; {meant}")


def _places(names: Sequence[str], out: Path) -> list[Path]:
    if out.suffix.lower() != ".html":
        return [out / f"{name}.html" for name in names]
    if len(names) > 1:
        raise UserError(f"--out {out}: {len(names)} images need a folder")
    return [out]


def explanation_of(name: str, run: RunSoFar) -> Explanation:
    """What the run has made of one test image so far."""
    draw = draw_of(name, run)
    leaks, classified, submitted = run.leaks, run.classified, run.submitted
    said = said_by(name, classified, leaks, draw) if classified else None
    return Explanation(
        id=name,
        atlas=run.spec.name,
        label_names=run.spec.labels,
        large=draw.shown(draw.own, "all channels"),
        channels=draw.channels(),
        neighbours=[neighbour(row, draw) for row in candidates(name, run).to_dict("records")],
        examined=leaks is not None,
        claim=claim_of(name, leaks, draw) if leaks else None,
        rests_on=rests_on(leaks) if leaks else (),
        plots=plots(name, leaks) if leaks else (),
        classifier=said,
        maps=maps_of_given(name, classified, said.bars, draw) if classified and said else (),
        decision=_decision(name, submitted) if submitted else None,
        truth=_truth(name, run),
        missing=run.missing,
        notes=tuple(_notes(run)),
    )


def _decision(name: str, submitted: Submitted) -> Decision | None:
    row = submitted.origin_of.get(name)
    if row is None:
        return None
    return Decision(
        final=parse_labels(submitted.labels[name]),
        without=parse_labels(submitted.without[name]),
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
    """What does not belong together."""
    classified, submitted = run.classified, run.submitted
    if classified and submitted and submitted.classifier != classified.own.provenance:
        return [
            f"The submission was made of another classifier than {classified.folder.name}: name "
            "its folder by --classifier, or make the submission again."
        ]
    return []
