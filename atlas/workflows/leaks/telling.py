"""A leak run in lines for the terminal."""

from collections.abc import Iterator

from atlas.workflows.leaks.finding import LeakFinding
from index.claims.leaks import SAME_IMAGE, SIBLING, TRANSFER
from index.copies.calibration import SameImageCalibration, SiblingCalibration


def told(found: LeakFinding) -> Iterator[str]:
    """The cut and the promise of each relation, and what is claimed."""
    calibration, leaks = found.calibration, found.leaks.table
    for line in _of_copies(calibration.same_image.calibration):
        yield f"{SAME_IMAGE}: {line}"
    for line in _of_siblings(calibration.sibling):
        yield f"{SIBLING}: {line}"
    for relation in (SAME_IMAGE, SIBLING):
        claims = leaks[leaks["relation"] == relation]
        transfers = int((claims["decision"] == TRANSFER).sum())
        yield (
            f"{relation}: claimed for {len(claims)} of {len(found.best_evidence_N)} test images, "
            f"labels may be transferred for {transfers}"
        )


def _of_copies(same: SameImageCalibration) -> Iterator[str]:
    yield (
        f"cut at correlation {same.cut:.3f}, which {same.recall_at_cut:.3f} of "
        f"{len(same.planted)} planted copies reach; {same.suspected} of {same.natural_count} "
        f"labelled images have a neighbour that reaches it too (suspected_copies.csv)"
    )
    if same.note:
        yield same.note
    yield same.promise.in_words()


def _of_siblings(sibling: SiblingCalibration) -> Iterator[str]:
    if sibling.cut is None:
        yield f"none is claimed: {sibling.note}"
        return
    yield (
        f"cut at similarity {sibling.cut:.3f}, which finds {sibling.recall_at_cut:.3f} of "
        f"{sibling.known_count} held-out fields"
    )
    if sibling.promise:
        yield sibling.promise.in_words()
