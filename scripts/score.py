"""Score a run against a truth table."""

from pathlib import Path

from scripts.console import run


def main(data: Path = Path("data"), runs: Path = Path("runs")) -> None:
    """Score the leaks and the submission of a run against DATA/truth.csv.

    Args:
        data: the atlas folder, with truth.csv.
        runs: the folder that holds index, leaks and, if made, submission.
    """
    from rich.console import Console
    from rich.table import Table

    from pipeline.scoring import score_run

    leaks, labels = score_run(data, runs)
    table = Table("measure", "count (share; exact 95 % interval)")
    for edit, share in leaks.copies_by_edit.items():
        table.add_row(f"copies found: {edit}", str(share))
    table.add_row("false same_image claims", str(leaks.false_copies))
    table.add_row("sibling claims that are right", str(leaks.sibling_precision))
    table.add_row("siblings found", str(leaks.sibling_recall))
    if labels:
        table.add_row("macro F1 with transferred labels", f"{labels.with_transfer:.4f}")
        table.add_row("macro F1 without", f"{labels.without_transfer:.4f}")
    Console().print(table)
    if leaks.false_copy_ids:
        print("false same_image claims: " + " ".join(leaks.false_copy_ids))
    print(f"wrote {runs / 'score.json'}")


if __name__ == "__main__":
    run(main)
