"""The labelled images: explore them, audit their labels, make more of the rare ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import OmitArgPrefixes

from atlas.cli.console import show_frame, show_table
from atlas.workflows.settings import AuditSettings, ExplorationSettings, RareSettings

if TYPE_CHECKING:
    from atlas.workflows.curate.rare_augmentation import RareAugmentation

SHOWN = 10


def explore(
    data: Path = Path("data"),
    out: Path = Path("runs/exploration"),
    settings: OmitArgPrefixes[ExplorationSettings] = ExplorationSettings(),
) -> None:
    """Explore an atlas folder: which labels there are, which occur together, how images look.

    A folder that holds only train.csv is explored by its labels.

    Args:
        data: The atlas folder.
        out: Where the page exploration.html, its tables and its plots go.
        settings: What is measured.
    """
    from atlas.workflows.explore import exploration

    explored = exploration.explore(data, out, settings)
    rows = list(explored.counts.items())
    for split in explored.labels.splits:
        for labels, images, percent in split.per_image.itertuples(index=False):
            name = f"{split.split} images with labels: {labels}"
            rows.append((name, f"{images:,} ({percent:.6f} %)"))
    show_table((), rows, title=explored.title)
    show_frame(explored.key_figures)
    for note in explored.notes:
        print(note)
    print(f"wrote {out}: see {out / exploration.PAGE_FILE}")


def audit_labels(
    data: Path = Path("data"),
    index: Path = Path("runs/index"),
    out: Path = Path("runs/audit"),
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = AuditSettings.neighbours,
    wrong_share: float = AuditSettings.wrong_share,
    seed: int = AuditSettings.seed,
) -> None:
    """Rank the labelled images by how much their neighbours contradict their labels.

    A trial on labels that are made wrong on purpose, in memory, says how much the ranking finds.

    Args:
        data: The atlas folder.
        index: What build_index.py wrote from the same data.
        out: Where audit.csv and the page audit.html go.
        k: Neighbours that are considered for each image.
        wrong_share: Share of the images taken to be labelled wrongly before looking, and labelled
            wrongly in the trial.
        seed: Of the trial.
    """
    from atlas.workflows.curate.label_audit import audit_labels_of

    settings = AuditSettings(neighbours=k, wrong_share=wrong_share, seed=seed)
    audited = audit_labels_of(data, index, out, settings)
    rows = audited.table[:SHOWN].to_dict("records")
    for row in rows:
        row["suspicion"] = f"{row['suspicion']:.3f}"
    show_table(audited.table.columns, [row.values() for row in rows])
    show_table((), audited.counts.items())
    print(f"wrote {out}: see {out / 'audit.html'}")


def augment_rare(
    settings: OmitArgPrefixes[RareSettings],
    data: Path = Path("data"),
    out: Path = Path("data_augmented"),
    dry_run: bool = False,
) -> None:
    """Write an atlas with more images of its rare labels, to train classifiers on.

    The same tables and images, and changed copies of images that carry a rare label, each with its
    Parent, from which no hold-out and no fold parts it.

    Args:
        settings: How many, and how they are changed.
        data: The atlas folder.
        out: The atlas folder to write.
        dry_run: Only print what would be made; the tables suffice for that.
    """
    from atlas.workflows.curate import rare_augmentation as workflow

    found = (
        workflow.plan_of(data, settings) if dry_run else workflow.augment_rare(data, out, settings)
    )
    print("\n".join(rare_lines(found, None if dry_run else out)))


def rare_lines(found: "RareAugmentation", out: Path | None) -> Iterator[str]:
    """What was made of rare labels; `out` is None where nothing was written."""
    plan = found.plan
    short = [label for label, count in enumerate(plan.before_L) if count < plan.least]
    width = max([len(found.labels[label]) for label in short], default=0)
    for label in short:
        before, after = int(plan.before_L[label]), int(plan.after_L[label])
        note = "  (no original carries it)" if label in plan.out_of_reach else ""
        yield f"{found.labels[label]:<{width}}  {before:>6} -> {after:>6}{note}"
    total = found.images + plan.made
    verb = "would be made" if out is None else "made"
    yield f"{plan.made} images {verb}: {found.images} -> {total} labelled images"
    if out is not None:
        yield f"{out} is already there" if found.already_there else f"wrote {out}"
