"""Commands that find known images: copies and siblings of labelled ones."""

import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.answers import Answer, following
from atlas.cli.console import profiled, show, show_frame
from atlas.core.execution import LOCAL, ExecutionSettings
from atlas.core.timing import stage
from index.settings import LeakSettings

if TYPE_CHECKING:
    from atlas.workflows.leaks.finding import LeakFinding
    from index.copies.calibration import SameImageCalibration
    from index.copies.certificate import Certificate
    from index.siblings.calibration import SiblingCalibration

SHOWN_ROWS = 20


def find(
    known: Positional[Path],
    new: Positional[Path],
    out: Path = Path("runs/find"),
    open_page: Annotated[bool, tyro.conf.arg(name="open")] = False,
    profile: bool = False,
    settings: OmitArgPrefixes[LeakSettings] = LeakSettings(),
    execution: OmitArgPrefixes[ExecutionSettings] = LOCAL,
) -> Answer:
    """Find which pictures of a new folder are already in a known one, without any tables.

    The folders may have subfolders, and the subfolders of the known one are labels. After pictures
    were added or removed, the same command computes only what is new.

    Args:
        known: Folder of known pictures.
        new: Folder of new pictures.
        out: Run folder to write; its found.csv has a row for each new picture.
        open_page: Open the report page in the browser.
        profile: Print what each stage took, and which one is the bottleneck.
        settings: Settings of the claims.
        execution: Settings of where the long work runs.
    """
    with profiled(profile):
        with stage("loading libraries"):
            from atlas.workflows import find as workflow
        found = workflow.find(known, new, out, settings, execution=execution)
    leaks = found.leaks
    for line in _of_copies(leaks.calibration.same_image.calibration, leaks.certificate):
        show(f"copies: {line}")
    shown = found.table[found.table["verdict"] != workflow.UNKNOWN][:SHOWN_ROWS]
    if len(shown):
        columns = ["new", "verdict", "known", "registration_score", "label"]
        digits = shown["registration_score"].map("{:.1f}".format)
        shown = shown[columns].assign(registration_score=digits)
        show_frame(shown, title=f"The first {len(shown)} rows of {workflow.FOUND_FILE}")
    if open_page:
        webbrowser.open(found.report.resolve().as_uri())
    return Answer(
        summary=found.summary,
        wrote=[out / workflow.FOUND_FILE],
        page=found.report,
        next_command=following("lookup", "PICTURE", index=out / "index"),
        details={**found.counts, "found": found.table.to_dict("records")},
    )


def find_leaks(
    data: Path = Path("data"),
    index: Path = Path("runs/index"),
    out: Path = Path("runs/leaks"),
    settings: OmitArgPrefixes[LeakSettings] = LeakSettings(),
    profile: bool = False,
    execution: OmitArgPrefixes[ExecutionSettings] = LOCAL,
) -> Answer:
    """Find the test images that are already known, and which labels follow.

    Args:
        data: Atlas folder.
        index: Index folder, as build-index writes it for the same data.
        out: Folder to write, with matches.csv, leaks.csv, calibration.json, report.html and
            pictures.
        settings: Settings of the claims.
        profile: Print what each stage took, and which one is the bottleneck.
        execution: Settings of where the long work runs.
    """
    with profiled(profile):
        with stage("loading libraries"):
            from atlas.workflows.leaks import finding as workflow
        found = workflow.find_leaks(data, index, out, settings, execution=execution)
    show("\n".join(leak_lines(found)))
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
    for line in _of_copies(calibration.same_image.calibration, found.certificate):
        yield f"{SAME_IMAGE}: {line}"
    if calibration.same_image.planted_recall:
        yield f"{SAME_IMAGE}: {calibration.same_image.recall_in_words}"
    for line in _of_siblings(calibration.sibling):
        yield f"{SIBLING}: {line}"


def _of_copies(same: "SameImageCalibration", certificate: "Certificate") -> Iterator[str]:
    yield (
        f"the threshold is a registration score of {same.threshold:.1f}, which "
        f"{same.recall_at_threshold:.1%} of {len(same.planted):,} planted copies reach; "
        f"{same.suspected:,} of {same.natural_count:,} labelled images have a neighbour that also "
        "reaches it (see suspected_copies.csv)"
    )
    if same.note:
        yield same.note
    yield same.guarantee.in_words()
    if certificate.claims:
        yield certificate.in_words()
    if certificate.unlike:
        yield certificate.warning()
    if certificate.unlike or not (same.guarantee.reached or certificate.reached):
        yield _accepting("--accept-unproven-copies")


def _of_siblings(sibling: "SiblingCalibration") -> Iterator[str]:
    if sibling.threshold is None:
        yield f"no sibling is claimed, because {sibling.note}"
        return
    yield from sibling.in_words()
    if not sibling.proven:
        yield _accepting("--accept-unproven-siblings")


def _accepting(option: str) -> str:
    return f"to transfer labels although the precision is not shown, give {option}"
