"""Embed the labelled images and fill the index."""

from pathlib import Path

from tyro.conf import OmitArgPrefixes

from atlas.cli.console import profiled, run
from atlas.core.timing import stage
from atlas.inference.settings import AUTO, RuntimeOptions
from index.settings import SearchSettings


def main(
    data: Path = Path("data"),
    embedder: str = "runs/embedder",
    out: Path = Path("runs/index"),
    profile: bool = False,
    embedding: OmitArgPrefixes[RuntimeOptions] = AUTO,
    search: OmitArgPrefixes[SearchSettings] = SearchSettings(),
) -> None:
    """Embed the labelled images of an atlas and fill the index.

    Args:
        data: the atlas folder.
        embedder: what train_embedder.py wrote, or "frozen" for a pretrained trunk without training.
        out: where the index goes; it holds all that a query needs.
        profile: print what each stage took, and which one holds the rest.
        embedding: what embeds; queries are embedded alike.
        search: exact, or as quick as a recall allows.
    """
    with profiled(profile):
        with stage("loading libraries"):
            from atlas.workflows.embed.index import build_index_of
        built = build_index_of(data, embedder, out, search, embedding)
    index = built.index
    identities = {name for name in index.identities.values() if name}
    print(f"embedder {embedder}, which started from {built.started_from}")
    for line in built.runtime_told:
        print(line)
    print(
        f"{len(index.embeddings.ids)} images of {index.image_size_px} px, "
        f"{index.embeddings.vectors_ND.shape[1]} dimensions, {len(identities)} repeated identities"
    )
    if built.search:
        print(
            f"search by {built.search.factory} finds {built.search.recall:.4f} of the 10 nearest, "
            f"{built.search.queries_per_second:.0f} queries/s"
        )
    print(f"wrote {out}")


if __name__ == "__main__":
    run(main)
