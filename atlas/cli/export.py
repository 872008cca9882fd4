"""Claims, verdicts and labels for other tools, and verdicts from them."""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from atlas.cli.answers import Answer
from atlas.cli.console import show


def export(
    kind: Positional[Literal["csv", "fiftyone", "label-studio", "coco", "huggingface"]],
    data: Path = Path("data"),
    run: Path = Path("runs"),
    out: Path = Path("runs/export"),
    only: Literal["claims"] | None = None,
) -> Answer:
    """Write claims, verdicts and labels in the format of another tool.

    Args:
        kind: Format to write; csv is the table of verdicts and corrections alone.
        data: Atlas folder.
        run: Run folder with leaks, and perhaps with a submission and verdicts.
        out: Folder to write.
        only: Leave out the images that take part in no claim and in no verdict.
    """
    from atlas.workflows.export import exporting

    made = exporting.export(kind, data, run, out, only=only)
    for note in made.notes:
        show(note)
    return Answer(
        summary=made.summary,
        wrote=[out],
        details={"images": made.images, "claims": made.claims, "verdicts": made.verdicts},
    )


def import_verdicts(
    file: Positional[Path],
    data: Path = Path("data"),
    run: Path = Path("runs"),
    reviewer: str = "",
) -> Answer:
    """Add verdicts and corrections of labels from a table, or from Label Studio, to a run.

    All rows are added, or none if one has a problem. Rows that were added before are left out.

    Args:
        file: CSV file with the columns query_id, match_id and verdict, or id and labels; or a JSON
            file that Label Studio exported.
        data: Atlas folder.
        run: Run folder.
        reviewer: Name of the person, for rows that name none.
    """
    from atlas.workflows.export import importing

    done = importing.import_verdicts(file, data, run, reviewer=reviewer)
    return Answer(
        summary=done.summary,
        wrote=[done.path] if done.added else [],
        details={"added": done.added, "known": done.known, "replaced": done.replaced},
    )
