"""Whole runs: do what a run file asks for, bring a run up to date, explain its rows."""

from pathlib import Path

from tyro.conf import Positional


def run(file: Positional[Path] = Path("run.toml"), dry_run: bool = False) -> None:
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
        print(f"{len(did)} stages done now; the run is in {wanted.out}")
        return
    print(f"{file} -> {wanted.out}")
    for planned in plan_run(wanted):
        print(f"{planned.state:10}{planned.stage.name}\n          $ {planned.command}")


def update(data: Path = Path("data"), run: Path = Path("runs")) -> None:
    """Bring index, leaks and submission up to date with tables that gained or lost images.

    Embedder, calibration and classifier stay as they are, and only what is new costs time.

    Args:
        data: The atlas folder, whose tables name the images there are now.
        run: The folder that holds index, and perhaps leaks, classifier and submission.
    """
    from atlas.workflows.runs.update import update_run

    updated = update_run(data, run)
    print(f"labelled images: {len(updated.added)} more, {len(updated.removed)} fewer")
    if updated.leaks:
        claims = updated.leaks.leaks.table
        print(f"leaks: {len(claims)} test images are known")
    if updated.submission:
        made = updated.submission
        rows = ", ".join(f"{origin} {count}" for origin, count in sorted(made.by_origin.items()))
        print(f"submission: {rows}")
    print(f"wrote {run}")


def explain(
    ids: Positional[tuple[str, ...]],
    data: Path = Path("data"),
    runs: Path = Path("runs"),
    classifier: Path | None = None,
    out: Path | None = None,
) -> None:
    """Write a page for each test image that explains how its row of the submission came to be.

    Its picture, its nearest known images and what they vote for, what the claim rests on, the
    classifier's probabilities and cuts, and the decision. Of a run that is not finished it shows
    what there is, and says which command makes the rest.

    Args:
        ids: Test images, as sample_submission.csv names them.
        data: The atlas folder.
        runs: The folder that holds index, leaks, classifier (or folds) and submission.
        classifier: Whose probabilities are shown, if not those that the submission was made of.
        out: An .html file for one image, or a folder; RUNS/explanations by default.
    """
    from atlas.workflows.explain import explanation

    for path in explanation.explain(ids, data, runs, out, classifier=classifier):
        print(f"wrote {path}")
