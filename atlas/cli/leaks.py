"""Find the test images that are copies or siblings of labelled ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import OmitArgPrefixes

from atlas.cli.answers import Answer, following
from atlas.cli.console import profiled
from atlas.core.timing import stage
from index.settings import LeakSettings

if TYPE_CHECKING:
    from atlas.workflows.leaks.finding import LeakFinding
    from index.copies.calibration import SameImageCalibration, SiblingCalibration
    from index.copies.guarantee import Guarantee


def find_leaks(
    data: Path = Path("data"),
    index: Path = Path("runs/index"),
    out: Path = Path("runs/leaks"),
    settings: OmitArgPrefixes[LeakSettings] = LeakSettings(),
    profile: bool = False,
) -> Answer:
    """Find the test images that are already known, and what labels follow.

    Args:
        data: The atlas folder.
        index: What build_index.py wrote from the same data.
        out: Where matches.csv, leaks.csv, calibration.json and pictures go.
        settings: What is claimed, and on what measurements.
        profile: Print what each stage took, and which one is the bottleneck.
    """
    with profiled(profile):
        with stage("loading libraries"):
            from atlas.workflows.leaks import finding as workflow
        found = workflow.find_leaks(data, index, out, settings)
    print("\n".join(leak_lines(found)))
    return Answer(
        summary=found.summary,
        wrote=[out],
        page=found.report,
        next_command=following("train_classifier", data=data),
        details={**found.counts, "guarantee": found.guarantee},
    )


def leak_lines(found: "LeakFinding") -> Iterator[str]:
    """Yield the threshold and the guarantee of each relation."""
    from atlas.dataset.artifacts import SAME_IMAGE, SIBLING

    calibration = found.calibration
    for line in _of_copies(calibration.same_image.calibration):
        yield f"{SAME_IMAGE}: {line}"
    for line in _of_siblings(calibration.sibling):
        yield f"{SIBLING}: {line}"


def _of_copies(same: "SameImageCalibration") -> Iterator[str]:
    yield (
        f"the threshold is a registration score of {same.cut:.3f}, which "
        f"{same.recall_at_cut:.3f} of {len(same.planted)} planted copies reach; "
        f"{same.suspected} of {same.natural_count} labelled images have a neighbour that "
        "reaches it too (suspected_copies.csv)"
    )
    if same.note:
        yield same.note
    yield from _of_guarantee(same.promise, "--accept-unproven-copies")


def _of_siblings(sibling: "SiblingCalibration") -> Iterator[str]:
    if sibling.cut is None:
        yield f"no sibling is claimed: {sibling.note}"
        return
    yield (
        f"the threshold is a similarity of {sibling.cut:.3f}, which finds "
        f"{sibling.recall_at_cut:.3f} of {sibling.known_count} held-out fields"
    )
    if sibling.promise:
        yield from _of_guarantee(sibling.promise, "--accept-unproven-siblings")


def _of_guarantee(guarantee: "Guarantee", accepting: str) -> Iterator[str]:
    yield guarantee.in_words()
    if not guarantee.reached:
        yield f"labels are transferred without that guarantee where you give {accepting}"
