"""Whole runs: do what a run file asks for, bring a run up to date, explain its rows."""

from pathlib import Path

from tyro.conf import Positional

from atlas.cli.answers import Answer


def run(file: Positional[Path] = Path("run.toml"), dry_run: bool = False) -> Answer:
    """Do all that a run file asks for and that is not done yet, in order.

    The same file again does only what is left; a stopped run is resumed.

    Args:
        file: A TOML that names the atlas, embedder, classifiers, ensemble and their options.
        dry_run: Only show what would be done.
    """
    from atlas.cli.commands import require_understood
    from atlas.workflows.runs.run_file import read_run_file
    from atlas.workflows.runs.stages import do_run, plan_run

    wanted = read_run_file(file)
    for stage in wanted.stages:
        require_understood(f"{file}: [{stage.name}]", stage.script, stage.words)
    if not dry_run:
        did = do_run(wanted)
        total = len(wanted.stages)
        return Answer(
            summary=f"All {total} stages of {file} are done, {len(did)} of them now.",
            wrote=[wanted.out],
            details={"done_now": [stage.name for stage in did]},
        )
    plan = plan_run(wanted)
    for planned in plan:
        print(f"{planned.state:10}{planned.stage.name}\n          $ {planned.command}")
    left = [planned.stage.name for planned in plan if planned.state != "done"]
    return Answer(
        summary=f"{len(left)} of {len(plan)} stages would be done, in {wanted.out}.",
        details={"states": {planned.stage.name: planned.state for planned in plan}},
    )


def update(data: Path = Path("data"), run: Path = Path("runs")) -> Answer:
    """Bring index, leaks and submission up to date with tables that gained or lost images.

    Embedder, calibration and classifier stay as they are, and only what is new costs time.

    Args:
        data: The atlas folder, whose tables name the images there are now.
        run: The folder that holds index, and perhaps leaks, classifier and submission.
    """
    from atlas.workflows.runs import update as workflow

    updated = workflow.update(data, run)
    made = updated.submission
    return Answer(
        summary=updated.summary,
        wrote=[run],
        page=updated.leaks.report if updated.leaks else None,
        details={
            "added": sorted(updated.added),
            "removed": sorted(updated.removed),
            "leaks": updated.leaks.counts if updated.leaks else None,
            "submission": made.by_origin if made else None,
        },
    )


def explain(
    ids: Positional[tuple[str, ...]],
    data: Path = Path("data"),
    run: Path = Path("runs"),
    classifier: Path | None = None,
    out: Path | None = None,
) -> Answer:
    """Write a page for each test image that explains how its row of the submission came to be.

    Its picture, its nearest known images and what they vote for, what the claim rests on, the
    classifier's probabilities and thresholds, and the decision. Of a run that is not finished it shows
    what there is, and says which command makes the rest.

    Args:
        ids: Test images, as sample_submission.csv names them.
        data: The atlas folder.
        run: The folder that holds index, leaks, classifier (or folds) and submission.
        classifier: Whose probabilities are shown, if not those that the submission was made of.
        out: An .html file for one image, or a folder; RUN/explanations by default.
    """
    from atlas.workflows.explain import explanation

    pages = explanation.explain(ids, data, run, out, classifier=classifier)
    count = "One page explains" if len(pages) == 1 else f"{len(pages)} pages explain"
    return Answer(
        summary=f"{count} how the labels came about.",
        wrote=pages,
        page=pages[0] if len(pages) == 1 else None,
    )
