"""The nearest known images of test ids or image files."""

from pathlib import Path
from typing import Annotated

import tyro

from atlas.cli.console import run


def main(
    queries: Annotated[tuple[str, ...], tyro.conf.Positional],
    index: Path = Path("runs/index"),
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10,
    montage: Path = Path("runs/lookup.png"),
    data: Path | None = None,
) -> None:
    """Show the nearest known images of ids of the atlas, or of image files.

    Args:
        queries: ids (test or train), or paths of image files; any one channel's file will do.
        index: what build_index.py wrote.
        k: neighbours of each query.
        montage: where the picture goes.
        data: the atlas folder, if it has moved since the index was made.
    """
    from rich.console import Console
    from rich.table import Table

    from atlas.workflows.embed.lookup import look_up

    found = look_up(queries, index, k=k, montage=montage, data=data)
    table = Table()
    for name in found.table.columns:
        table.add_column(name, overflow="fold")
    for row in found.table.itertuples(index=False):
        query, rank, match, similarity, evidence, labels, identity = row
        scores = (f"{similarity:.4f}", f"{evidence:.3f}")
        table.add_row(str(query), str(rank), str(match), *scores, str(labels), str(identity))
    terminal = Console()
    (terminal if terminal.is_terminal else Console(width=160)).print(table)
    print("similarity: cosine of embeddings; evidence: correlation of registered pixels")
    print(f"wrote {found.montage}")


if __name__ == "__main__":
    run(main)
