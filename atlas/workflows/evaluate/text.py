"""An evaluation as tables of text, for a terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from atlas.dataset.metrics import exact_interval
from retrieval.evaluation.measurement import Measurement
from retrieval.evaluation.ranking import RankingSummary, by_group, summarise

NOTHING = "-"


@dataclass(frozen=True, kw_only=True)
class TextTable:
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def text_tables(measured: Sequence[Measurement]) -> list[TextTable]:
    """Those of ranking, verification and identification that have rows."""
    tables = (_ranking(measured), _verification(measured), _identification(measured))
    return [table for table in tables if table.rows]


def _ranking(measured: Sequence[Measurement]) -> TextTable:
    return TextTable(
        title="Ranking (with the 95 % interval of recall@1)",
        columns=(
            "protocol", "class is", "queries", "left out", "references",
            "recall@1", "@10", "R-precision", "MAP@R", "MRR",
        ),
        rows=[row for one in measured for row in _ranking_rows(one)],
    )  # fmt: skip


def _ranking_rows(measured: Measurement) -> Iterator[tuple[str, ...]]:
    protocol = measured.protocol
    whole = (protocol.name, protocol.class_is), summarise(measured.scores)
    relations = by_group(measured.scores, protocol.relations or {})
    parts = [((f"  {name}", ""), summarise(own)) for name, own in relations.items()]
    for names, summary in (whole, *parts):
        references = str(len(protocol.reference_ids)) if summary is whole[1] else ""
        yield (
            *names, str(summary.queries), str(summary.left_out), references, *_figures(summary),
        )  # fmt: skip


def _figures(summary: RankingSummary) -> tuple[str, ...]:
    if not summary.queries:
        return (NOTHING,) * 5
    numbers = (summary.r_precision, summary.map_at_r, summary.mean_reciprocal_rank)
    return (
        _share(summary.hits_at[1], summary.queries),
        f"{summary.hits_at[10] / summary.queries:.3f}",
        *(f"{number:.3f}" for number in numbers),
    )


def _verification(measured: Sequence[Measurement]) -> TextTable:
    found = [(one.protocol.name, one.verification) for one in measured if one.verification]
    rates = [point.false_accept_rate for _, one in found[:1] for point in one.operating_points]
    return TextTable(
        title="Verification: are two queries of one class? (TAR: share of same pairs accepted)",
        columns=(
            "protocol", "same pairs", "different", "accuracy", "threshold", "ROC AUC",
            *(f"TAR at FAR {rate:g}" for rate in rates),
        ),
        rows=[
            (
                name,
                str(len(one.same_P)),
                str(len(one.different_P)),
                f"{one.accuracy_mean:.3f} (sd {one.accuracy_deviation:.3f})",
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


def _identification(measured: Sequence[Measurement]) -> TextTable:
    found = [(one.protocol.name, one.identification) for one in measured if one.identification]
    return TextTable(
        title="Open set: who is it, if anybody known? (DIR: known, and surer than strangers)",
        columns=(
            "protocol", "known", "strangers", "false alarms", "threshold", "DIR", "recall@1",
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
    low, high = exact_interval(count, of)
    return f"{count / of:.3f} ({low:.3f} to {high:.3f})"
