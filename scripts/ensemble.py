"""Join what classifiers say, and choose the cuts."""

from pathlib import Path

from tyro.conf import OmitArgPrefixes

from atlas.cli.console import run
from classify.decisions.settings import DecisionSettings


def main(
    members: tuple[Path, ...] = (Path("runs/folds"),),
    data: Path = Path("data"),
    out: Path = Path("runs/ensemble"),
    compare: bool = False,
    settings: OmitArgPrefixes[DecisionSettings] = DecisionSettings(),
) -> None:
    """Join what classifiers say, choose the cuts, and tell a macro F1 that nothing flatters.

    The folder it writes goes wherever that of a classifier goes.

    Args:
        members: Run folders of train_classifier.py, train_folds.py or of this command, which were
            asked about the same held-out images; one will do, for its cuts and priors.
        data: The atlas folder.
        out: The folder to write.
        compare: Also score every way of joining with every way of choosing cuts.
        settings: How they are joined and decided by.
    """
    from rich.console import Console
    from rich.table import Table

    from atlas.workflows.classify.ensemble import make_ensemble

    made = make_ensemble(data, members, out, settings, compare=compare)
    heads = ("members", "joined by", "cuts", "priors", "nested (95 %)", "optimistic", "optimism")
    table = Table(*heads, title="macro F1 of held-out images", title_justify="left")
    for _, row in made.summary.iterrows():
        nested = f"{row['nested']:.4f} ({row['low']:.4f} to {row['high']:.4f})"
        scores = (nested, f"{row['optimistic']:.4f}", f"{row['optimism']:+.4f}")
        table.add_row(row["members"], row["how"], row["thresholds"], row["priors"], *scores)
    terminal = Console()
    (terminal if terminal.is_terminal else Console(width=120)).print(table)
    print(
        "nested: nothing that decides an image has seen it; optimistic: learned on the same images"
    )
    if made.without:
        print(f"too few images to fit anything to: {', '.join(made.without)}; the members' mean")
    print(f"wrote {out}; the first row is what it decides by")


if __name__ == "__main__":
    run(main)
