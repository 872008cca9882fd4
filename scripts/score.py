"""Score a run against a truth table."""

from pathlib import Path

from atlas.cli.console import run

SHOWN_CHANGES = 8


def main(data: Path = Path("data"), runs: Path = Path("runs")) -> None:
    """Score the leaks and the submission of a run against DATA/truth.csv.

    Args:
        data: the atlas folder, with truth.csv.
        runs: the folder that holds index, leaks and, if made, submission.
    """
    from rich.console import Console
    from rich.table import Table

    from atlas.workflows.submit.score import score_run, top_changes

    scored = score_run(data, runs)
    leaks, labels = scored.leaks, scored.labels
    terminal = Console() if Console().is_terminal else Console(width=140)
    table = Table("measure", "count (share; exact 95 % interval)")
    for edit, share in leaks.copies_by_edit.items():
        table.add_row(f"copies found: {edit}", str(share))
    table.add_row("false same_image claims", str(leaks.false_copies))
    table.add_row("sibling claims that are right", str(leaks.sibling_precision))
    table.add_row("siblings found", str(leaks.sibling_recall))
    terminal.print(table)
    if leaks.false_copy_ids:
        print("false same_image claims: " + " ".join(leaks.false_copy_ids))
    if labels:
        heads = ("images", "groups", "labels", "without transfer", "with transfer", "difference")
        table = Table("test images", *heads, title="macro F1 (95 % by bootstrap over groups)")
        for row in labels.by_relation:
            counts = (str(row.images), str(row.groups), str(row.labels))
            scores = (str(row.without_transfer), str(row.with_transfer), row.difference.signed)
            table.add_row(row.relation, *counts, *scores)
        terminal.print(table)
        changes = top_changes(labels.by_class, SHOWN_CHANGES)
        table = Table("label", "images", "F1 without", "F1 with", "difference")
        table.title = f"labels that transfer changes most ({len(changes)} shown)"
        for change in changes.to_dict("records"):
            name = f"{change['label']} {change['name']}"
            without, with_transfer = f"{change['f1_without']:.3f}", f"{change['f1_with']:.3f}"
            difference = f"{change['difference']:+.3f}"
            table.add_row(name, str(change["images"]), without, with_transfer, difference)
        terminal.print(table)
    for path in scored.written:
        print(f"wrote {path}")


if __name__ == "__main__":
    run(main)
