"""Bring a run up to date with its data folder."""

from pathlib import Path

from atlas.cli.console import run as run_command


def main(data: Path = Path("data"), run: Path = Path("runs")) -> None:
    """Bring index, leaks and submission up to date with tables that gained or lost images.

    Embedder, calibration and classifier stay as they are, and only what is new costs time.

    Args:
        data: the atlas folder, whose tables name the images there are now.
        run: the folder that holds index, and perhaps leaks, classifier and submission.
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


if __name__ == "__main__":
    run_command(main)
