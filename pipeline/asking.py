"""What an embedder is asked for: images that training held out, and test images."""

from pathlib import Path

import pandas as pd

from atlas.errors import UserError
from atlas.manifest import Manifest
from pipeline.truth import TRUTH_FILE
from retrieval.embedder import HeldOut
from retrieval.embedder_files import load_embedder
from retrieval.evaluation.protocols import Protocol, truth_protocols


def held_out_lists(own: HeldOut, borrowed: Path | None) -> HeldOut:
    """An embedder's own lists, or those of the embedder in the folder `borrowed`.

    Raises UserError where it has lists of its own and would be asked for others.
    """
    if borrowed is None:
        return own
    lists = load_embedder(borrowed).held_out
    if own not in (HeldOut(), lists):
        raise UserError("the embedder keeps lists of its own held-out fields: leave out --held-out")
    return lists


def with_truth(
    made: list[Protocol], manifest: Manifest, truth: pd.DataFrame | None
) -> list[Protocol]:
    """What is made already, then the test images. Raises UserError where that is nothing."""
    if truth is not None:
        made = [*made, *truth_protocols(manifest, truth)]
    if not made:
        raise UserError(
            "nothing to measure by: no field of this data was held out, and there is no "
            f"{TRUTH_FILE}; give --held-out an embedder that was trained on this data"
        )
    return made
