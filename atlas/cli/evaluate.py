"""Evaluation of embedders: one measurement, cross-validation, losses, and post-processing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.answers import Answer
from atlas.cli.console import show, show_frame, show_table
from atlas.core.errors import UserError
from atlas.workflows.settings import ComparisonSettings, FoldSettings
from retrieval.settings import RECIPES, EmbedderRecipe, EmbedderSettings

if TYPE_CHECKING:
    import pandas as pd

    from retrieval.evaluation.measurement import Measurement
    from retrieval.evaluation.ranking import RankingSummary
    from retrieval.evaluation.verification import Verification

NOTHING = "-"
Classes = Literal["auto", "identity", "label-set"]


def evaluate(
    data: Path = Path("data"),
    embedder: str = "runs/embedder",
    out: Path = Path("runs/evaluation"),
    held_out: Path | None = None,
    classes: Classes = "auto",
    views: Literal[1, 8] | None = None,
    seed: int = 0,
) -> Answer:
    """Measure how well an embedder finds images of the same class.

    Args:
        data: Atlas folder. If it has a truth.csv, test images are measured too.
        embedder: Run folder of an embedder or classifier, as train-embedder or train-classifier
            writes it, or a network that needs no training: frozen, timm:NAME, timm:NAME@FILE,
            torchscript:FILE or onnx:FILE. A file of the last two kinds is a program; use only those
            of people whom you trust.
        out: Folder to write, with evaluation.json, tables and pictures.
        held_out: Run folder of the embedder whose held-out images are the queries, for networks
            that need no training and for classifiers.
        classes: What a class is: identity, label-set, or auto, which takes identities if any occurs
            twice.
        views: Number of flips and rotations to average, instead of the embedder's own.
        seed: Seed of pairs, folds and the gallery of the open set.
    """
    from atlas.workflows.evaluate import embedder as workflow

    evaluation = workflow.evaluate(
        data, embedder, out, held_out=held_out, classes=classes, views=views, seed=seed
    )
    for table in text_tables(evaluation.measurements):
        show_table(table.columns, table.rows, title=table.title)
    for one in evaluation.measurements:
        if one.by_class_vectors is not None:
            show(f"{one.protocol.name}: top-1 by class vectors {one.by_class_vectors.rate}")
        if one.nearest_macro_f1 is not None:
            said = f"macro F1 of the labels of the nearest image {one.nearest_macro_f1:.4f}"
            show(f"{one.protocol.name}: {said}")
    show(f"the embedder {embedder} started from {evaluation.started_from}")
    for note in evaluation.notes:
        show(note)
    return Answer(
        summary=evaluation.summary,
        wrote=[out],
        details={"started_from": evaluation.started_from, "notes": evaluation.notes},
    )


def cross_validate(
    recipe: Positional[EmbedderRecipe] = "card",
    data: Path = Path("data"),
    out: Path = Path("runs/cross_validation"),
    folds: OmitArgPrefixes[FoldSettings] = FoldSettings(),
    settings: OmitArgPrefixes[EmbedderSettings] = RECIPES["card"],
) -> Answer:
    """Train and measure an embedder fold by fold, and compare it with the frozen one.

    The test images of each fold search its training images for their identity if identities are the
    classes, and otherwise for their labels. Run the same command again to resume a stopped run.

    Args:
        recipe: Recipe that sets the defaults of all options: small is for a few thousand images,
            card follows the model card, winner is the 2018 winner's, and smoke is for trying things
            out.
        data: Atlas folder.
        out: Folder to write, with a run folder for each fold.
        folds: Settings of the folds.
        settings: Settings of the training.
    """
    from atlas.workflows.evaluate import cross_validation

    table = cross_validation.cross_validate(data, out, settings, folds)
    columns, *rows = fold_cells(table)
    ends = [number for number, row in enumerate(rows) if row[1] == "std"]
    show_table(columns, rows, last=ends)
    return Answer(
        summary=f"{len(table)} folds were trained and measured.",
        wrote=[out],
        details={"folds": table.to_dict("records")},
    )


def compare_losses(
    recipe: Positional[EmbedderRecipe] = "card",
    data: Path = Path("data"),
    out: Path = Path("runs/losses"),
    jobs: int = 1,
    runs: OmitArgPrefixes[ComparisonSettings] = ComparisonSettings(),
    folds: OmitArgPrefixes[FoldSettings] = FoldSettings(),
    settings: OmitArgPrefixes[EmbedderSettings] = RECIPES["card"],
) -> Answer:
    """Compare the losses of the ArcFace paper's Table 2, from the same start and on the same folds.

    Only the loss differs: the learning rate, the epochs and everything else are those of the recipe
    and are not tuned for any loss. Run the same command again to resume a stopped comparison; you
    can add rows or seeds later.

    Args:
        recipe: Recipe that sets the defaults of all options: small is for a few thousand images,
            card follows the model card, winner is the 2018 winner's, and smoke is for trying things
            out.
        data: Atlas folder.
        out: Folder to write.
        jobs: Number of runs at a time, each on one thread. The figures do not depend on it.
        runs: Settings of the comparison.
        folds: Settings of the folds.
        settings: Settings of the training; the loss is set by --rows.
    """
    from atlas.workflows.evaluate import loss_comparison

    if settings.loss != RECIPES[recipe].loss and settings.classes != "label-similarity":
        raise UserError("--loss has no effect here; omit it, and name the losses with --rows")
    table = loss_comparison.compare_losses(data, out, settings, folds, runs, jobs=jobs)
    columns, *rows = loss_cells(table)
    show_table(columns, rows)
    return Answer(
        summary=f"{len(table)} losses were compared.",
        wrote=[out],
        page=out / "losses.png",
        details={"losses": table.to_dict("records")},
    )


def ablate_retrieval(
    data: Path = Path("data"),
    embedder: str = "runs/embedder",
    out: Path = Path("runs/ablation"),
    held_out: Path | None = None,
    classes: Classes = "auto",
) -> Answer:
    """Measure steps that follow the network, one by one and combined.

    The steps are averaging of views (1 or 8), whitening, and score normalisation or re-ranking.
    They are measured on the images that training held out, and on test images if the atlas has a
    truth.csv.

    Args:
        data: Atlas folder.
        embedder: Run folder of an embedder, as train-embedder writes it, or a network that needs no
            training, as for build-index.
        out: Folder to write.
        held_out: Run folder of the embedder whose held-out images are the queries, for networks
            that need no training.
        classes: What a class is: identity, label-set, or auto, which takes identities if any occurs
            twice.
    """
    from atlas.workflows.evaluate import ablation

    table = ablation.ablate_retrieval(data, embedder, out, held_out=held_out, classes=classes)
    gains = ["map_at_r", "map_at_r_gain", "map_at_r_gain_error"]
    best = ablation.winners(table)[["protocol", "combination", "queries", *gains]]
    show_frame(best, title="Best combinations by MAP@R, and their gain over the first one")
    first = best.iloc[0]
    return Answer(
        summary=f"The best combination ({first['protocol']}) is {first['combination']}, with a "
        f"MAP@R of {first['map_at_r']:.3f}.",
        wrote=[out],
        page=out / "ablation.png",
        details={"best": best.to_dict("records")},
    )


def fold_cells(table: "pd.DataFrame") -> list[list[str]]:
    """Return a heading, and a row of texts for each embedder and fold, its mean and std."""
    from atlas.workflows.evaluate.cross_validation import METRICS, summary_of

    rows = [["embedder", "fold", "train/test", *METRICS.values()]]
    for embedder, summary in summary_of(table).items():
        for row in table.to_dict("records"):
            figures = [_spread_text(row[f"{embedder}_{metric}"]) for metric in METRICS]
            counts = f"{row['training_images']}/{row['test_images']}"
            rows.append([embedder, str(row["fold"]), counts, *figures])
        for name in ("mean", "std"):
            spread = [_spread_text(summary[metric][name]) for metric in METRICS]
            rows.append([embedder, name, "", *spread])
    return rows


def loss_cells(table: "pd.DataFrame") -> list[list[str]]:
    """Return a heading, and a row of texts for each loss."""
    from atlas.workflows.evaluate.cross_validation import METRICS

    rows = [["loss", "runs", *METRICS.values()]]
    for _, row in table.iterrows():
        figures = [_spread_text(row[f"{name}_mean"], row[f"{name}_std"]) for name in METRICS]
        rows.append([str(row["loss"]), str(row["runs"]), *figures])
    return rows


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table of text, for a terminal."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def text_tables(measured: Sequence["Measurement"]) -> list[TextTable]:
    """Return the tables of ranking, verification and identification that have rows."""
    tables = (_ranking(measured), _verification(measured), _identification(measured))
    return [table for table in tables if table.rows]


def _ranking(measured: Sequence["Measurement"]) -> TextTable:
    return TextTable(
        title="Ranking (with the 95% interval of recall@1)",
        columns=(
            "protocol", "class is", "queries", "left out", "references",
            "recall@1", "@10", "R-precision", "MAP@R", "MRR",
        ),
        rows=[row for one in measured for row in _ranking_rows(one)],
    )  # fmt: skip


def _ranking_rows(measured: "Measurement") -> Iterator[tuple[str, ...]]:
    from retrieval.evaluation.ranking import by_group, summarise

    protocol = measured.protocol
    whole = (protocol.name, protocol.class_is), summarise(measured.scores)
    relations = by_group(measured.scores, protocol.relations or {})
    parts = [((f"  {name}", ""), summarise(own)) for name, own in relations.items()]
    for names, summary in (whole, *parts):
        references = str(len(protocol.reference_ids)) if summary is whole[1] else ""
        yield (
            *names, str(summary.queries), str(summary.left_out), references, *_figures(summary),
        )  # fmt: skip


def _figures(summary: "RankingSummary") -> tuple[str, ...]:
    if not summary.queries:
        return (NOTHING,) * 5
    numbers = (summary.r_precision, summary.map_at_r, summary.mean_reciprocal_rank)
    return (
        _share(summary.hits_at[1], summary.queries),
        f"{summary.hits_at[10] / summary.queries:.3f}",
        *(f"{number:.3f}" for number in numbers),
    )


def _verification(measured: Sequence["Measurement"]) -> TextTable:
    found = [(one.protocol.name, one.verification) for one in measured if one.verification]
    rates = [point.false_accept_rate for _, one in found[:1] for point in one.operating_points]
    return TextTable(
        title="Verification: do two queries have one class? (TAR: share of same pairs accepted)",
        columns=(
            "protocol", "same pairs", "different", "accuracy", "threshold", "ROC AUC",
            *(f"TAR at FAR {rate:g}" for rate in rates),
        ),
        rows=[
            (
                name,
                str(len(one.same_P)),
                str(len(one.different_P)),
                _accuracy(one),
                f"{one.threshold:.3f}",
                f"{one.roc_auc:.3f}",
                *(
                    f"{point.accepted / point.of:.3f}"
                    if point.accepted is not None and point.of
                    else "too few pairs"
                    for point in one.operating_points
                ),
            )
            for name, one in found
        ],
    )  # fmt: skip


def _accuracy(one: "Verification") -> str:
    if one.accuracy_mean is None:
        return "too few classes"
    return f"{one.accuracy_mean:.3f} (sd {one.accuracy_deviation:.3f})"


def _identification(measured: Sequence["Measurement"]) -> TextTable:
    found = [(one.protocol.name, one.identification) for one in measured if one.identification]
    return TextTable(
        title="Open set: is the class known, and which is it? (DIR: share of known queries found)",
        columns=(
            "protocol", "known", "unknown", "false alarms", "threshold", "DIR", "recall@1",
        ),
        rows=[
            (
                name,
                str(one.genuine),
                str(one.impostors),
                f"{one.false_alarms} ({one.false_alarm_rate:g} allowed)",
                f"{one.threshold:.3f}",
                _share(one.identified, one.genuine),
                _share(one.nearest_right, one.genuine),
            )
            for name, one in found
        ],
    )  # fmt: skip


def _share(count: int, of: int) -> str:
    from atlas.dataset.metrics import Share

    return Share(count=count, of=of).rate


def _spread_text(mean: float | None, std: float | None = None) -> str:
    """Return `0.912 ± 0.004`, without the parts that are unknown."""
    import pandas as pd

    if mean is None or pd.isna(mean):
        return "-"
    return f"{mean:.3f}" if std is None or pd.isna(std) else f"{mean:.3f} ± {std:.3f}"
