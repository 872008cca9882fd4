"""Whole runs: do what a run file asks for, update a run, and explain its rows."""

from pathlib import Path

from tyro.conf import Positional

from atlas.cli.answers import Answer
from atlas.cli.console import show


def run(file: Positional[Path] = Path("run.toml"), dry_run: bool = False) -> Answer:
    """Run all stages of a run file that are not done yet, in order.

    Run the same file again to resume a stopped run; only unfinished stages are run.

    Args:
        file: TOML file that names the atlas, the embedder, the classifiers, the ensemble and their
            options.
        dry_run: Only print what would be done.
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
            summary=f"All {total} stages of {file} are done; {len(did)} of them were run now.",
            wrote=[wanted.out],
            details={"done_now": [stage.name for stage in did]},
        )
    plan = plan_run(wanted)
    for planned in plan:
        show(f"{planned.state:10}{planned.stage.name}\n          $ {planned.command}")
    left = [planned.stage.name for planned in plan if planned.state != "done"]
    return Answer(
        summary=f"{len(left)} of {len(plan)} stages would be run, in {wanted.out}.",
        details={"states": {planned.stage.name: planned.state for planned in plan}},
    )


def update(data: Path = Path("data"), run: Path = Path("runs")) -> Answer:
    """Update index, leaks and submission after images were added to the tables or removed.

    The embedder, the calibration and the classifier do not change, and only new images cost time.

    Args:
        data: Atlas folder with the changed tables.
        run: Run folder with an index, and optionally leaks, a classifier and a submission.
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
    """Write a page for each test image that explains its row of the submission.

    The page shows the image, its nearest known images and their votes, the measurements behind the
    claim, the classifier's probabilities and thresholds, and the decision. If the run is not
    finished, the page shows what there is and names the commands that make the rest.

    Args:
        ids: Test images, as sample_submission.csv names them.
        data: Atlas folder.
        run: Run folder with an index, leaks, a classifier (or folds) and a submission.
        classifier: Folder of the classifier whose probabilities are shown. By default it is the one
            that the submission was made from.
        out: Folder to write, or an .html file for a single image. By default it is
            RUN/explanations.
    """
    from atlas.workflows.explain import explanation

    pages = explanation.explain(ids, data, run, out, classifier=classifier)
    count = "One page explains" if len(pages) == 1 else f"{len(pages)} pages explain"
    return Answer(
        summary=f"{count} where the submitted labels come from.",
        wrote=pages,
        page=pages[0] if len(pages) == 1 else None,
    )
