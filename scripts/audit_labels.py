"""Rank the labelled images by how much their neighbours contradict their labels."""

from pathlib import Path
from typing import Annotated

import tyro

from atlas.cli.console import run

SHOWN = 10


def main(
    data: Path = Path("data"),
    index: Path = Path("runs/index"),
    out: Path = Path("runs/audit"),
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 40,
    wrong_share: float = 0.05,
    seed: int = 0,
) -> None:
    """Rank the labelled images by how much their neighbours contradict their labels.

    A trial on labels that are made wrong on purpose, in memory, says how much the ranking finds.

    Args:
        data: the atlas folder.
        index: what build_index.py wrote from the same data.
        out: where audit.csv and the page audit.html go.
        k: neighbours that are heard of each image.
        wrong_share: share of the images taken to be labelled wrongly before looking, and labelled
            wrongly in the trial.
        seed: of the trial.
    """
    from rich.console import Console
    from rich.table import Table

    from atlas.workflows.curate.label_audit import AuditSettings, audit_labels_of, trial_in_words

    settings = AuditSettings(neighbours=k, wrong_share=wrong_share, seed=seed)
    audited = audit_labels_of(data, index, out, settings)
    table = Table()
    for name in audited.table.columns:
        table.add_column(name, overflow="fold")
    for row in audited.table[:SHOWN].to_dict("records"):
        told = (row["labels"], row["suggested"], f"{row['suspicion']:.3f}", row["reason"])
        table.add_row(str(row["rank"]), row["Id"], *told)
    terminal = Console()
    (terminal if terminal.is_terminal else Console(width=160)).print(table)
    print(f"{audited.kin_count} identities and groups, whose images are heard as one")
    print(trial_in_words(audited.trial))
    likely = int((audited.table["suspicion"] > 0.5).sum())
    print(f"{likely} of {len(audited.table)} images have labels that are likelier wrong than right")
    print(f"wrote {out}: see {out / 'audit.html'}")


if __name__ == "__main__":
    run(main)
