"""Check any submission file."""

from pathlib import Path
from typing import Annotated

import tyro

from atlas.cli.console import run


def main(
    submission: Annotated[Path, tyro.conf.Positional] = Path("runs/submission/submission.csv"),
    data: Path = Path("data"),
) -> None:
    """Check a submission, whoever wrote it: ids, order, labels. All problems are told at once.

    Args:
        submission: a CSV file with the columns Id and Predicted.
        data: the atlas folder, with sample_submission.csv.
    """
    from atlas.workflows.submit.check import check_submission_of

    asked = check_submission_of(data, submission)
    print(
        f"{submission}: good: the {len(asked.ids)} ids of sample_submission.csv in its order, "
        f"labels in 0..{asked.label_count - 1}, no row empty"
    )


if __name__ == "__main__":
    run(main)
