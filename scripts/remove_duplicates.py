"""Find the labelled images that are copies of one another."""

from pathlib import Path

from atlas.cli.console import run
from index.settings import LeakSettings, RegistrationSettings

SHOWN = 20
NATURAL_QUERIES = 1000  # enough for a cut; more would only prove more


def main(
    data: Path = Path("data"),
    index: Path = Path("runs/index"),
    out: Path = Path("runs/duplicates"),
    neighbours: int = LeakSettings.neighbours,
    copy_precision: float = LeakSettings.copy_precision,
    copy_share: float = LeakSettings.copy_share,
    seed: int = LeakSettings.seed,
) -> None:
    """Find the labelled images that are copies of one another, and tables without those.

    The data is left as it is: copy what `out` holds in `cleaned` over its tables, or groups.csv
    alone, then build the index again.

    Args:
        data: the atlas folder.
        index: what build_index.py wrote from the same data.
        out: where duplicates.csv, groups.csv, cleaned/ and a picture go.
        neighbours: candidates that are examined for each labelled image.
        copy_precision: precision that claims should have.
        copy_share: share of labelled images expected to be copies; precision is meant at it.
        seed: which images are planted and examined for the calibration.
    """
    from rich.console import Console
    from rich.table import Table

    from atlas.workflows.curate.duplicates import CLEANED_FOLDER, find_duplicates_of

    settings = LeakSettings(
        neighbours=neighbours, copy_precision=copy_precision, copy_share=copy_share, seed=seed,
        natural_queries=NATURAL_QUERIES,
    )  # fmt: skip
    found = find_duplicates_of(data, index, out, settings, RegistrationSettings())
    same = found.same_image.calibration
    print(
        f"same_image: cut at correlation {same.cut:.3f}, which {same.recall_at_cut:.3f} of "
        f"{len(same.planted)} planted copies reach"
    )
    if same.note:
        print(f"same_image: {same.note}")
    external = len(found.manifest.of("external").rows)
    print(f"{len(found.table)} of {len(found.manifest.labelled.rows)} labelled images are copies "
          f"of an earlier one, {len(found.disagreements)} of them with other labels")  # fmt: skip
    print(f"{len(found.removed_ids)} of {external} external images are copies of train images")
    if len(found.disagreements):
        table = Table(title="copies with other labels, surest first")
        for name in ("image", "its labels", "copy of", "labels of that", "evidence"):
            table.add_column(name, overflow="fold")
        for row in found.disagreements[:SHOWN].to_dict("records"):
            table.add_row(row["id"], row["labels"], row["duplicate_of"], row["other_labels"],
                          f"{row['evidence']:.3f}")  # fmt: skip
        terminal = Console()
        (terminal if terminal.is_terminal else Console(width=160)).print(table)
    print(f"wrote {out}")
    if found.removed_ids:
        print(f"to leave the copies out:  cp {out / CLEANED_FOLDER}/*.csv {data}")


if __name__ == "__main__":
    run(main)
