"""Measure what whitening, score normalisation, re-ranking and more views are worth."""

from pathlib import Path
from typing import Literal

from atlas.cli.console import run


def main(
    data: Path = Path("data"),
    embedder: str = "runs/embedder",
    out: Path = Path("runs/ablation"),
    held_out: Path | None = None,
    classes: Literal["auto", "identity", "label-set"] = "auto",
) -> None:
    """Measure what can be done after the network, each alone and together.

    Views averaged (1 or 8), whitening, and score normalisation or re-ranking; on the images that
    training held out, and on test images where the atlas has a truth.csv.

    Args:
        data: The atlas folder.
        embedder: What train_embedder.py wrote, or "frozen" for a pretrained trunk as it is.
        out: The folder to write.
        held_out: The embedder whose held-out fields are asked for, for "frozen".
        classes: What counts as right; auto takes identities where any occurs twice.
    """
    from atlas.workflows.evaluate.ablation import ablate_retrieval, winners

    table = ablate_retrieval(data, embedder, out, held_out=held_out, classes=classes)
    print(f"best by MAP@R, and its gain over {table['combination'].iloc[0]}:")
    print("\n".join(winners(table)))
    print(f"wrote {out}: ablation.csv, ablation.md, ablation.png, ablation.json")


if __name__ == "__main__":
    run(main)
