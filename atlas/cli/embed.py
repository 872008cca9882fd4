"""Embedders and the index: train, build, look up, export."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.console import profiled, show_table
from atlas.core.errors import install_command
from atlas.core.timing import stage
from atlas.inference.settings import AUTO, RuntimeOptions
from index.settings import SearchSettings
from retrieval.settings import RECIPES, EmbedderRecipe, EmbedderSettings

if TYPE_CHECKING:
    from atlas.workflows.embed.index import BuiltIndex


def train_embedder(
    recipe: Positional[EmbedderRecipe] = "card",
    data: Path = Path("data"),
    out: Path = Path("runs/embedder"),
    settings: OmitArgPrefixes[EmbedderSettings] = RECIPES["card"],
) -> None:
    """Train an embedder on the labelled images.

    The same command resumes a stopped run. What is not given is the recipe's.

    Args:
        recipe: card follows the model card; winner is the 2018 winner's; smoke is small and quick.
        data: The atlas folder.
        out: The run folder to write.
        settings: What is learned from what.
    """
    from atlas.workflows.embed import embedder as workflow
    from retrieval.training import SELECTED_BY

    embedder = workflow.train_embedder(data, out, settings)
    trained = embedder.provenance
    print(
        f"{embedder.image_size_px} px, {len(embedder.channels)} channels; best epoch "
        f"{trained['best_epoch'] + 1}: top-1 {trained[SELECTED_BY]:.4f} on what was held out"
    )
    print(f"wrote {out}: weights, settings, metrics and held-out ids")


def build_index(
    data: Path = Path("data"),
    embedder: str = "runs/embedder",
    out: Path = Path("runs/index"),
    profile: bool = False,
    embedding: OmitArgPrefixes[RuntimeOptions] = AUTO,
    search: OmitArgPrefixes[SearchSettings] = SearchSettings(),
) -> None:
    """Embed the labelled images of an atlas and fill the index.

    Args:
        data: The atlas folder.
        embedder: What train_embedder.py wrote, or "frozen" for a pretrained trunk without training.
        out: Where the index goes; it holds all that a query needs.
        profile: Print what each stage took, and which one is the bottleneck.
        embedding: What embeds; queries are embedded alike.
        search: Exact, or as quick as a recall allows.
    """
    with profiled(profile):
        with stage("loading libraries"):
            from atlas.workflows.embed.index import build_index_of
        built = build_index_of(data, embedder, out, search, embedding)
    print(f"embedder {embedder}, which started from {built.started_from}")
    print("\n".join(_of_index(built)))
    print(f"wrote {out}")


def lookup(
    queries: Positional[tuple[str, ...]],
    index: Path = Path("runs/index"),
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10,
    montage: Path = Path("runs/lookup.png"),
    data: Path | None = None,
) -> None:
    """Show the nearest known images of ids of the atlas, or of image files.

    Args:
        queries: Ids (test or train), or paths of image files; any one channel's file will do.
        index: What build_index.py wrote.
        k: Neighbours of each query.
        montage: Where the picture goes.
        data: The atlas folder, if it has moved since the index was made.
    """
    from atlas.workflows.embed.lookup import look_up

    found = look_up(queries, index, k=k, montage=montage, data=data)
    digits = {"similarity": ".4f", "evidence": ".3f"}
    rows = [
        [format(value, digits.get(str(name), "")) for name, value in row.items()]
        for row in found.table.to_dict("records")
    ]
    show_table(found.table.columns, rows)
    print("similarity: cosine of embeddings; evidence: correlation of registered pixels")
    print(f"wrote {found.montage}")


def export_embedder(
    embedder: Path = Path("runs/embedder"), out: Path = Path("runs/embedder.onnx")
) -> None:
    """Write an embedder as an ONNX file, for programs without torch.

    Args:
        embedder: What train_embedder.py wrote, or the folder `embedder` of an index.
        out: The file; uint8 images in, vectors of unit length out, for any number of images.
    """
    from atlas.workflows.embed import embedder as workflow

    made = workflow.export_embedder(embedder, out)
    channels, height, width = made.shape_CHW
    print(f"uint8 N x {channels} x {height} x {width} -> float32 N x {made.dimension}")
    if made.least_cosine is None:
        print(
            "The file is not compared with torch, because onnxruntime is not installed: "
            f"{install_command('onnx')} brings it"
        )
    else:
        print(f"cosine to torch at least {made.least_cosine:.6f}")
    print(f"wrote {out}")


def runtime_lines(checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What embeds and why, a line each; what failed its check comes first."""
    for check in checks:
        way = f"{check['runtime']} {check['precision']}{_because(check)}"
        yield f"embeds by {way}" if check["passed"] else f"not by {way}"


def _of_index(built: "BuiltIndex") -> Iterator[str]:
    index, search = built.index, built.search
    identities = {name for name in index.identities.values() if name}
    yield from runtime_lines(built.runtime_checks)
    yield (
        f"{len(index.embeddings.ids)} images of {index.image_size_px} px, "
        f"{index.embeddings.vectors_ND.shape[1]} dimensions, {len(identities)} repeated identities"
    )
    if search:
        yield (
            f"search by {search.factory} finds {search.recall:.4f} of the 10 nearest, "
            f"{search.queries_per_second:.0f} queries/s"
        )


def _because(check: Mapping[str, Any]) -> str:
    if "problem" in check:
        return f": {check['problem']}"
    if "images" not in check:
        return ""
    said = (
        f": cosine to torch float32 of {check['images']} images, 1st percentile "
        f"{check['cosine_percentile_1']:.5f}"
    )
    if "recall" not in check:
        return said
    own, exact = check["recall"], check["recall_float32"]
    said += (
        f"; of {own['copy_count']} planted copies {own['copies']:.2%} found, by float32 "
        f"{exact['copies']:.2%}"
    )
    if own["sibling_count"]:
        said += f"; of {own['sibling_count']} siblings {own['siblings']:.2%} and "
        said += f"{exact['siblings']:.2%}"
    return said
