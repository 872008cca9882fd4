"""Copies and siblings: among test images, among labelled images, and in tables of leaks."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.console import profiled, show_frame, show_table
from atlas.core.timing import stage
from index.settings import CopySettings, LeakColumns, LeakSettings, RegistrationSettings

if TYPE_CHECKING:
    from atlas.workflows.leaks.finding import LeakFinding
    from index.copies.calibration import SameImageCalibration, SiblingCalibration

SHOWN_DISAGREEMENTS = 20
SHOWN_CLASSES = 8
SHOWN_DIFFERENCES = 3  # of each table
SUMMARY_SHOWN = (
    "table", "rows", "ids", "ids_with_several_rows", "ids_with_several_label_sets", "questionable",
    "strangers",
)  # fmt: skip
PAIRS_SHOWN = (
    "table", "other", "shared", "equal", "share", "low", "high", "held", "written_alike",
    "same_match", "more", "fewer", "overlapping", "disjoint",
)  # fmt: skip


def find_leaks(
    data: Path = Path("data"),
    index: Path = Path("runs/index"),
    out: Path = Path("runs/leaks"),
    settings: OmitArgPrefixes[LeakSettings] = LeakSettings(),
    profile: bool = False,
) -> None:
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
            from atlas.workflows.leaks.finding import find_leaks_of
        found = find_leaks_of(data, index, out, settings, RegistrationSettings())
    print("\n".join(leak_lines(found)))
    print(f"wrote {out}")


def remove_duplicates(
    data: Path = Path("data"),
    index: Path = Path("runs/index"),
    out: Path = Path("runs/duplicates"),
    # So many queries suffice for a threshold; more would only prove more.
    settings: OmitArgPrefixes[CopySettings] = CopySettings(natural_queries=1000),
) -> None:
    """Find the labelled images that are copies of one another, and tables without those.

    The data is left as it is: copy what `out` holds in `cleaned` over its tables, or groups.csv
    alone, then build the index again.

    Args:
        data: The atlas folder.
        index: What build_index.py wrote from the same data.
        out: Where duplicates.csv, groups.csv, cleaned/ and a picture go.
        settings: What is claimed, and on what measurements.
    """
    from atlas.workflows.curate.duplicates import CLEANED_FOLDER, find_duplicates_of

    measured = LeakSettings(**asdict(settings))
    found = find_duplicates_of(data, index, out, measured, RegistrationSettings())
    same = found.same_image.calibration
    print(
        f"same_image: cut at correlation {same.cut:.3f}, which {same.recall_at_cut:.3f} of "
        f"{len(same.planted)} planted copies reach"
    )
    if same.note:
        print(f"same_image: {same.note}")
    external = len(found.manifest.of("external").rows)
    print(
        f"{len(found.table)} of {len(found.manifest.labelled.rows)} labelled images are copies "
        f"of an earlier one, {len(found.disagreements)} of them with other labels"
    )
    print(f"{len(found.removed_ids)} of {external} external images are copies of train images")
    if len(found.disagreements):
        columns = ("image", "its labels", "copy of", "labels of that", "evidence")
        names = ["id", "labels", "duplicate_of", "other_labels"]
        rows = [
            [*(row[name] for name in names), f"{row['evidence']:.3f}"]
            for row in found.disagreements[:SHOWN_DISAGREEMENTS].to_dict("records")
        ]
        show_table(columns, rows, title="copies with other labels, surest first")
    print(f"wrote {out}")
    if found.removed_ids:
        print(f"to leave the copies out:  cp {out / CLEANED_FOLDER}/*.csv {data}")


def audit_leaks(
    tables: Positional[tuple[Path, ...]],
    data: Path | None = None,
    labels: Path | None = None,
    out: Path = Path("runs/leak_audit"),
    columns: OmitArgPrefixes[LeakColumns] = LeakColumns(),
) -> None:
    """Compare leak tables that people passed around, say which to distrust, and merge them.

    Args:
        tables: CSV files with a test id and labels in each row, perhaps a match and distances.
        data: The atlas folder: its labels, and the test images that rows may name.
        labels: A table of labelled fields (Id, Target), such as that of HPA v18, in which the
            matches are looked up.
        out: Where agreement.csv, conflicts.csv, merged.csv, agreement.png and audit.json go.
        columns: What the tables call their columns.
    """
    from atlas.workflows.curate.leak_tables import audit_leak_tables

    audited = audit_leak_tables(tables, out, data=data, labels=labels, columns=columns)
    show_frame(audited.columns, title="columns")
    show_frame(audited.summary[list(SUMMARY_SHOWN)], title="tables")
    if len(audited.agreement):
        show_frame(audited.agreement[list(PAIRS_SHOWN)], title="labels of shared ids")
    disputed = audited.classes[audited.classes["disputed"] > 0]
    if len(disputed):
        show_frame(disputed[:SHOWN_CLASSES], title="most disputed labels, in ids")
    if len(audited.sources):
        show_frame(audited.sources, title="labels beside those of the match")
    show_frame(audited.trust, title="beside the consensus of the others")
    if len(audited.differences):
        most = audited.differences.groupby("table", sort=False).head(SHOWN_DIFFERENCES)
        show_frame(most, title="labels of distrusted tables beside that consensus, in ids")
    for caution in audited.cautions:
        print(caution)
    merged = audited.merged
    disputed_ids, sure = (merged["disagree"] != "").sum(), (merged["confidence"] > 0.5).sum()
    print(f"{len(merged)} test ids; {disputed_ids} disputed, {sure} with a confidence above 0.5")
    print(f"wrote {out}: merged.csv, agreement.csv, conflicts.csv, agreement.png, audit.json")


def leak_lines(found: "LeakFinding") -> Iterator[str]:
    """The threshold and the guarantee of each relation, and what is claimed."""
    from index.claims.leaks import SAME_IMAGE, SIBLING, TRANSFER

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


def _of_copies(same: "SameImageCalibration") -> Iterator[str]:
    yield (
        f"cut at correlation {same.cut:.3f}, which {same.recall_at_cut:.3f} of "
        f"{len(same.planted)} planted copies reach; {same.suspected} of {same.natural_count} "
        f"labelled images have a neighbour that reaches it too (suspected_copies.csv)"
    )
    if same.note:
        yield same.note
    yield same.promise.in_words()


def _of_siblings(sibling: "SiblingCalibration") -> Iterator[str]:
    if sibling.cut is None:
        yield f"none is claimed: {sibling.note}"
        return
    yield (
        f"cut at similarity {sibling.cut:.3f}, which finds {sibling.recall_at_cut:.3f} of "
        f"{sibling.known_count} held-out fields"
    )
    if sibling.promise:
        yield sibling.promise.in_words()
