"""The labelled images: explore them, audit their labels, and augment the rare ones."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.answers import Answer
from atlas.cli.console import show, show_frame, show_table
from atlas.workflows.settings import AuditSettings, ExplorationSettings, RareSettings
from index.settings import DuplicateSettings, LeakColumns, RegistrationSettings

if TYPE_CHECKING:
    from atlas.workflows.curate.rare_augmentation import RareAugmentation

SHOWN = 10

SHOWN_DISAGREEMENTS = 20
SHOWN_CLASSES = 8
SHOWN_DIFFERENCES = 3  # rows of each table
SUMMARY_SHOWN = (
    "table", "rows", "ids", "ids_with_several_rows", "ids_with_several_label_sets", "questionable",
    "non_matches",
)  # fmt: skip
PAIRS_SHOWN = (
    "table", "other", "shared", "equal", "share", "low", "high", "held", "written_alike",
    "same_match", "more", "fewer", "overlapping", "disjoint",
)  # fmt: skip


def explore(
    data: Path = Path("data"),
    out: Path = Path("runs/exploration"),
    settings: OmitArgPrefixes[ExplorationSettings] = ExplorationSettings(),
) -> Answer:
    """Explore an atlas folder: which labels it has, which occur together, how images look.

    A folder that has only train.csv is explored by its labels.

    Args:
        data: Atlas folder.
        out: Folder to write, with the page exploration.html, tables and plots.
        settings: Settings of the exploration.
    """
    from atlas.workflows.explore import exploration

    explored = exploration.explore(data, out, settings)
    rows = list(explored.counts.items())
    for split in explored.labels.splits:
        for labels, images, percent in split.per_image.itertuples(index=False):
            name = f"{split.split} images with labels: {labels}"
            rows.append((name, f"{images:,} ({percent:.6f}%)"))
    show_table((), rows, title=explored.title)
    show_frame(explored.key_figures)
    for note in explored.notes:
        show(note)
    return Answer(
        summary=f"{explored.title} is complete; the page shows all of it.",
        wrote=[out],
        page=out / exploration.PAGE_FILE,
        details={"counts": explored.counts, "notes": explored.notes},
    )


def audit_labels(
    data: Path = Path("data"),
    index: Path = Path("runs/index"),
    out: Path = Path("runs/audit"),
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = AuditSettings.neighbours,
    wrong_share: float = AuditSettings.wrong_share,
    seed: int = AuditSettings.seed,
) -> Answer:
    """Rank the labelled images by how much their neighbours contradict their labels.

    A trial replaces labels at random, in memory, and reports how many of them the ranking finds.

    Args:
        data: Atlas folder.
        index: Index folder, as build-index writes it for the same data.
        out: Folder to write, with audit.csv and the page audit.html.
        k: Number of neighbours that are considered for each image.
        wrong_share: Share of the images that is assumed to be labelled wrongly before looking, and
            that the trial labels wrongly.
        seed: Seed of the trial.
    """
    from atlas.workflows.curate import label_audit as workflow

    settings = AuditSettings(neighbours=k, wrong_share=wrong_share, seed=seed)
    audited = workflow.audit_labels(data, index, out, settings)
    rows = audited.table[:SHOWN].to_dict("records")
    for row in rows:
        row["suspicion"] = f"{row['suspicion']:.3f}"
    show_table(audited.table.columns, [row.values() for row in rows])
    show_table((), audited.counts.items())
    likely = int((audited.table["suspicion"] > 0.5).sum())
    return Answer(
        summary=f"{likely:,} of {len(audited.table):,} labelled images are more likely labelled "
        "wrong than right.",
        wrote=[out],
        page=out / "audit.html",
        details={"likely_wrong": likely, "trial": asdict(audited.trial)},
    )


def augment_rare(
    settings: OmitArgPrefixes[RareSettings],
    data: Path = Path("data"),
    out: Path = Path("data_augmented"),
    dry_run: bool = False,
) -> Answer:
    """Write an atlas with more images of its rare labels, to train classifiers on.

    The new atlas has the same tables and images, and changed copies of images with a rare label.
    Each copy names its original in the column Parent, and stays on the same side as it in hold-outs
    and folds.

    Args:
        settings: Settings of the augmentation.
        data: Atlas folder.
        out: Atlas folder to write.
        dry_run: Only print what would be made; the images may be missing.
    """
    from atlas.workflows.curate import rare_augmentation as workflow

    found = (
        workflow.plan_of(data, settings) if dry_run else workflow.augment_rare(data, out, settings)
    )
    show("\n".join(rare_lines(found)))
    verb = "already exist" if found.already_there else "were made"
    made, total = found.plan.made, found.images + found.plan.made
    return Answer(
        summary=f"{made} images {'would be made' if dry_run else verb}, which gives {total} "
        f"labelled images instead of {found.images}.",
        wrote=[] if dry_run else [out],
        details={"made": made, "labelled_images": total},
    )


def rare_lines(found: "RareAugmentation") -> Iterator[str]:
    """Yield the number of images of each rare label before and after."""
    plan = found.plan
    short = [label for label, count in enumerate(plan.before_L) if count < plan.least]
    width = max([len(found.labels[label]) for label in short], default=0)
    for label in short:
        before, after = int(plan.before_L[label]), int(plan.after_L[label])
        note = "  (no original has this label)" if label in plan.out_of_reach else ""
        yield f"{found.labels[label]:<{width}}  {before:>6} -> {after:>6}{note}"


def remove_duplicates(
    data: Path = Path("data"),
    index: Path = Path("runs/index"),
    out: Path = Path("runs/duplicates"),
    settings: OmitArgPrefixes[DuplicateSettings] = DuplicateSettings(),
) -> Answer:
    """Find the labelled images that are copies of one another, and write tables with one of each.

    The data is not changed. To use the result, copy the tables in OUT/cleaned, or groups.csv alone,
    over those of the data, and build the index again.

    Args:
        data: Atlas folder.
        index: Index folder, as build-index writes it for the same data.
        out: Folder to write, with duplicates.csv, copies.csv, groups.csv, cleaned/ and a picture.
            atlas review shows its groups if it is the folder duplicates of a run, and the images
            that people chose there are kept.
        settings: Settings of the claims, and of which copies are kept.
    """
    from atlas.workflows.curate import duplicates as workflow

    found = workflow.remove_duplicates(data, index, out, settings, RegistrationSettings())
    same = found.same_image.calibration
    show(
        f"same_image: the threshold is a registration score of {same.threshold:.1f}, which "
        f"{same.recall_at_threshold:.1%} of {len(same.planted):,} planted copies reach"
    )
    if same.note:
        show(f"same_image: {same.note}")
    external = len(found.manifest.of("external").rows)
    show(f"{found.copies_of_train} of {external} external images are copies of train images")
    if len(found.disagreements):
        columns = ("image", "labels", "copy of", "labels of that", "kept", "registration score")
        names = ["id", "labels", "duplicate_of", "other_labels", "kept"]
        rows = [
            [*(row[name] for name in names), f"{row['registration_score']:.1f}"]
            for row in found.disagreements[:SHOWN_DISAGREEMENTS].to_dict("records")
        ]
        show_table(columns, rows, title="Copies with other labels, most certain first")
    cleaned = out / workflow.CLEANED_FOLDER
    return Answer(
        summary=f"{len(found.table)} of {len(found.manifest.labelled.rows)} labelled images are "
        f"copies of one that is kept, {len(found.disagreements)} of them with other labels.",
        wrote=[out],
        next_command=f"cp {cleaned}/*.csv {data}" if cleaned.exists() else "",
        details={
            "copies": len(found.table),
            "with_other_labels": len(found.disagreements),
            "removed": len(found.kept_for) if cleaned.exists() else 0,
        },
    )


def audit_leaks(
    tables: Positional[tuple[Path, ...]],
    data: Path | None = None,
    labels: Path | None = None,
    out: Path = Path("runs/leak_audit"),
    columns: OmitArgPrefixes[LeakColumns] = LeakColumns(),
) -> Answer:
    """Compare leak tables of other people, report which to distrust, and merge them.

    Args:
        tables: CSV files with a test image and labels in each row, and optionally a match and
            distances.
        data: Atlas folder with the labels and the test images that rows may name.
        labels: Table of labelled images (Id, Target), such as that of HPA v18, in which the matches
            are looked up.
        out: Folder to write, with agreement.csv, conflicts.csv, merged.csv, agreement.png and
            audit.json.
        columns: Names of the columns of the tables.
    """
    from atlas.workflows.curate.leak_tables import audit_leak_tables

    audited = audit_leak_tables(tables, out, data=data, labels=labels, columns=columns)
    show_frame(audited.columns, title="Columns that are used")
    show_frame(audited.summary[list(SUMMARY_SHOWN)], title="Tables")
    if len(audited.agreement):
        show_frame(audited.agreement[list(PAIRS_SHOWN)], title="Agreement on shared ids")
    disputed = audited.classes[audited.classes["disputed"] > 0]
    if len(disputed):
        show_frame(disputed[:SHOWN_CLASSES], title="Most disputed labels (number of ids)")
    if len(audited.sources):
        show_frame(audited.sources, title="Agreement with the labels of the matches")
    show_frame(audited.trust, title="Agreement with the consensus of the other tables")
    if len(audited.differences):
        most = audited.differences.groupby("table", sort=False).head(SHOWN_DIFFERENCES)
        show_frame(most, title="Where distrusted tables differ from it (number of ids)")
    for caution in audited.cautions:
        show(caution)
    merged = audited.merged
    disputed_ids, sure = (merged["disagree"] != "").sum(), (merged["confidence"] > 0.5).sum()
    return Answer(
        summary=f"The tables name {len(merged)} test ids; {disputed_ids} are disputed, and {sure} "
        "have a confidence above 0.5.",
        wrote=[out],
        details={"ids": len(merged), "disputed": int(disputed_ids), "sure": int(sure)},
    )
