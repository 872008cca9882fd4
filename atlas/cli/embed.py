"""Embedders and the index: train, build, look up, export."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.answers import Answer, following
from atlas.cli.console import profiled, show, show_table
from atlas.core.errors import install_command
from atlas.core.execution import LOCAL, ExecutionSettings
from atlas.core.timing import stage
from atlas.inference.settings import AUTO, RuntimeOptions
from index.settings import SearchSettings
from retrieval.settings import RECIPES, EmbedderRecipe, EmbedderSettings

if TYPE_CHECKING:
    from atlas.workflows.embed.index import Index


def train_embedder(
    recipe: Positional[EmbedderRecipe] = "card",
    data: Path = Path("data"),
    out: Path = Path("runs/embedder"),
    settings: OmitArgPrefixes[EmbedderSettings] = RECIPES["card"],
) -> Answer:
    """Train an embedder on the labelled images.

    Run the same command again to resume a stopped run. Options that you do not give are those of
    the recipe.

    Args:
        recipe: Recipe that sets the defaults of all options: small is for a few thousand images,
            card follows the model card, winner is the 2018 winner's, copies learns to recognise
            edited copies, and smoke is for trying things out.
        data: Atlas folder.
        out: Run folder to write.
        settings: Settings of the training.
    """
    from atlas.workflows.embed import embedder as workflow

    trained = workflow.train_embedder(data, out, settings)
    return Answer(
        summary=trained.summary,
        wrote=[out],
        next_command=following("build_index", data=data, embedder=out),
        details={
            "top1": trained.top1,
            "best_epoch": trained.embedder.provenance["best_epoch"] + 1,
            "image_size_px": trained.embedder.image_size_px,
            "channels": trained.embedder.channels,
        },
    )


def build_index(
    data: Path = Path("data"),
    embedder: str = "runs/embedder",
    out: Path = Path("runs/index"),
    image_size_px: int | None = None,
    profile: bool = False,
    embedding: OmitArgPrefixes[RuntimeOptions] = AUTO,
    search: OmitArgPrefixes[SearchSettings] = SearchSettings(),
    execution: OmitArgPrefixes[ExecutionSettings] = LOCAL,
) -> Answer:
    """Embed the labelled images of an atlas and write an index of them.

    Args:
        data: Atlas folder.
        embedder: Run folder of an embedder, as train-embedder writes it, or a network that needs no
            training: frozen, timm:NAME, timm:NAME@FILE, torchscript:FILE or onnx:FILE. A file of
            the last two kinds is a program; use only those of people whom you trust.
        out: Index folder to write; it contains everything that queries need.
        image_size_px: Side to which images are resized for a network that needs no training. By
            default it is their most common side, up to 512 px.
        profile: Print what each stage took, and which one is the bottleneck.
        embedding: Settings of the runtime that embeds images; queries use the same.
        search: Settings of the search.
        execution: Settings of where the long work runs.
    """
    with profiled(profile):
        with stage("loading libraries"):
            from atlas.workflows.embed import index as workflow
        built = workflow.build_index(
            data, embedder, out, search, embedding, image_size_px=image_size_px,
            execution=execution,
        )  # fmt: skip
    show(f"the embedder {embedder} started from {built.started_from}")
    show("\n".join(_of_index(built)))
    index = built.opened
    return Answer(
        summary=f"The index contains {len(built):,} labelled images and is ready for searches.",
        wrote=[out],
        next_command=following("find_leaks", data=data, index=out),
        details={
            "images": len(built),
            "image_size_px": index.image_size_px,
            "dimensions": index.dimension,
        },
    )


def lookup(
    queries: Positional[tuple[str, ...]],
    index: Path = Path("runs/index"),
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10,
    montage: Path = Path("runs/lookup.png"),
    data: Path | None = None,
) -> Answer:
    """Report whether images are known, and show the nearest known images of each.

    Args:
        queries: Ids of test or train images, image files, or folders of image files. The channel
            files of one image are one query.
        index: Index folder, as build-index writes it.
        k: Number of neighbours of each query.
        montage: Picture to write; the table is written next to it as CSV.
        data: Atlas folder, if it has moved since the index was built.
    """
    from atlas.workflows.embed import lookup as workflow

    found = workflow.lookup(queries, index, k=k, montage=montage, data=data)
    digits = {"similarity": ".4f", "registration_score": ".1f"}
    shown = found.table[found.table["match_id"] != ""].drop(columns="verdict")
    rows = [
        [format(value, digits.get(str(name), "")) for name, value in row.items()]
        for row in shown.to_dict("records")
    ]
    show_table([name.replace("_", " ") for name in shown.columns], rows)
    if len(found.verdicts) > 1:  # one is the summary
        show("\n".join(f"{query} {verdict}" for query, verdict in found.verdicts.items()))
    return Answer(
        summary=found.summary,
        wrote=[found.csv, *found.pages],
        page=found.pages[0] if len(found.pages) == 1 else None,
        details={"verdicts": found.verdicts, "hits": found.table.to_dict("records")},
        failed=bool(found.problems),
    )


def export_embedder(
    embedder: Path = Path("runs/embedder"), out: Path = Path("runs/embedder.onnx")
) -> Answer:
    """Write an embedder as an ONNX file, for programs without torch.

    Args:
        embedder: Run folder of an embedder, as train-embedder writes it, or the folder "embedder"
            of an index.
        out: ONNX file to write. It maps any number of uint8 images to vectors of unit length.
    """
    from atlas.workflows.embed import embedder as workflow

    made = workflow.export_embedder(embedder, out)
    channels, height, width = made.shape_CHW
    if made.least_cosine is None:
        compared = (
            "it was not compared with torch, because onnxruntime is not installed "
            f"({install_command('onnx')} installs it)"
        )
    else:
        compared = (
            f"its vectors have a cosine of at least {made.least_cosine:.6f} to those of torch"
        )
    return Answer(
        summary=f"The network maps uint8 N x {channels} x {height} x {width} to float32 "
        f"N x {made.dimension}; {compared}.",
        wrote=[out],
        details={"dimension": made.dimension, "least_cosine": made.least_cosine},
    )


def runtime_lines(checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each runtime that was tried; the last one is used."""
    for check in checks:
        way = f"{check['runtime']} {check['precision']}{_because(check)}"
        yield f"embeds by {way}" if check["passed"] else f"not by {way}"


def _of_index(built: "Index") -> Iterator[str]:
    index = built.opened
    identities = {name for name in index.identities.values() if name}
    yield from runtime_lines(built.runtime_checks)
    yield (
        f"{len(index.ids):,} images of {index.image_size_px} px, "
        f"{index.dimension} dimensions, {len(identities):,} identities that "
        "occur more than once"
    )
    if built.searched:
        yield built.searched.in_words


def _because(check: Mapping[str, Any]) -> str:
    if "problem" in check:
        return f": {check['problem']}"
    if "images" not in check:
        return ""
    said = (
        f": the 1st percentile of the cosine to float32 is {check['cosine_percentile_1']:.5f} "
        f"({check['images']} images)"
    )
    if "recall" not in check:
        return said
    own, exact = check["recall"], check["recall_float32"]
    said += (
        f"; it finds {own['copies']:.2%} of {own['copy_count']} planted copies (float32: "
        f"{exact['copies']:.2%})"
    )
    if own["sibling_count"]:
        said += f" and {own['siblings']:.2%} of {own['sibling_count']} siblings "
        said += f"(float32: {exact['siblings']:.2%})"
    return said
