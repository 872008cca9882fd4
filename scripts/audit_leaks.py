"""Compare leak tables that people passed around, say which to distrust, and merge them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from atlas.cli.console import run

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

SHOWN_CLASSES = 8
SUMMARY_SHOWN = (
    "table", "rows", "ids", "ids_with_several_rows", "ids_with_several_label_sets", "questionable",
)  # fmt: skip
PAIRS_SHOWN = (
    "table", "other", "shared", "equal", "share", "low", "high", "written_alike", "more", "fewer",
    "overlapping", "disjoint", "one_of_several", "none_of_several",
)  # fmt: skip


def main(
    tables: Annotated[tuple[Path, ...], tyro.conf.Positional],
    data: Path | None = None,
    labels: Path | None = None,
    out: Path = Path("runs/leak_audit"),
) -> None:
    """Compare leak tables that people passed around, say which to distrust, and merge them.

    Columns are known by their names or by what they hold; what was taken for what is printed.

    Args:
        tables: CSV files with a test id and labels in each row, perhaps a match and distances.
        data: the atlas folder: its labels, and the test images that rows may name.
        labels: a table of labelled fields (Id, Target), such as that of HPA v18, in which the
            matches are looked up.
        out: where agreement.csv, conflicts.csv, merged.csv, agreement.png and audit.json go.
    """
    from rich.console import Console

    from atlas.workflows.curate.leak_tables import audit_leak_tables, columns_in_words

    audited = audit_leak_tables(tables, out, data=data, labels=labels)
    terminal = Console()
    terminal = terminal if terminal.is_terminal else Console(width=160)
    for table in audited.panel.tables:
        print(columns_in_words(table))
    terminal.print(_shown(audited.summary[list(SUMMARY_SHOWN)], "tables"))
    if len(audited.agreement):
        terminal.print(_shown(audited.agreement[list(PAIRS_SHOWN)], "labels of shared ids"))
    disputed = audited.classes[audited.classes["disputed"] > 0]
    if len(disputed):
        terminal.print(_shown(disputed[:SHOWN_CLASSES], "most disputed labels, in ids"))
    if len(audited.sources):
        terminal.print(_shown(audited.sources, "labels beside those of the match"))
    for sentence in audited.verdict:
        print(sentence)
    merged = audited.merged
    disputed_ids, sure = (merged["disagree"] != "").sum(), (merged["confidence"] > 0.5).sum()
    print(f"{len(merged)} test ids; {disputed_ids} disputed, {sure} with a confidence above .5")
    print(f"wrote {out}: merged.csv, agreement.csv, conflicts.csv, agreement.png, audit.json")


def _shown(frame: "pd.DataFrame", title: str) -> "Table":
    from rich.table import Table

    table = Table(*(name.replace("_", " ") for name in frame.columns), title=title)
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row))
    return table


if __name__ == "__main__":
    run(main)
