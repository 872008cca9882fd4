"""How rows of a submission came to be."""

from pathlib import Path
from typing import Annotated

import tyro

from atlas.cli.console import run


def main(
    ids: Annotated[tuple[str, ...], tyro.conf.Positional],
    data: Path = Path("data"),
    runs: Path = Path("runs"),
    classifier: Path | None = None,
    out: Path | None = None,
) -> None:
    """Write a page for each test image that tells how its row of the submission came to be.

    Its picture, its nearest known images and what they vote for, what the claim rests on, the
    classifier's probabilities and cuts, and the decision. Of a run that is not finished it shows
    what there is, and says which command makes the rest.

    Args:
        ids: test images, as sample_submission.csv names them.
        data: the atlas folder.
        runs: the folder that holds index, leaks, classifier (or folds) and submission.
        classifier: whose probabilities are shown, if not those that the submission was made of.
        out: an .html file for one image, or a folder; RUNS/explanations by default.
    """
    from atlas.workflows.explain.explanation import explain

    for path in explain(ids, data, runs, out, classifier=classifier):
        print(f"wrote {path}")


if __name__ == "__main__":
    run(main)
