"""One table of several: labels by vote, and for each row who says so and who does not."""

from collections import defaultdict
from collections.abc import Mapping

import pandas as pd

from atlas.labels import format_labels
from atlas.leak_tables import Labels, LeakRow
from index.leak_table_audit import all_ids, answer_text, answers_for, fields_in
from index.leak_table_trust import Panel, leading

MERGED_COLUMNS = (
    "Id", "labels", "confidence", "tables", "disagree", "other_labels", "match_id", "match_labels",
    "other_matches", "distances", "questioned_by",
)  # fmt: skip


def merged_table(panel: Panel, labelled: Mapping[str, Labels]) -> pd.DataFrame:
    """MERGED_COLUMNS, a row for each test id that has labels in some table.

    confidence: the trust of the best table that says so, times the share of the votes. It does not
    rise with the number of tables, which repeat one another. labelled: by field, the labels of
    matches that are known.
    """
    rows = [
        _row(panel, image_id, labelled)
        for image_id in all_ids(panel.tables)
        if answers_for(panel.tables, image_id)
    ]
    return pd.DataFrame(rows, columns=list(MERGED_COLUMNS))


def _row(panel: Panel, image_id: str, labelled: Mapping[str, Labels]) -> tuple[str | float, ...]:
    labels, confidence = _vote(panel, image_id)
    fields = _fields(panel, image_id)
    field = fields[0] if fields else ""
    return (
        image_id, _text(labels), confidence, *_sides(panel, image_id, labels),
        _fullest(panel, image_id, field), _text(labelled.get(field, frozenset())),
        " ".join(_fullest(panel, image_id, other) for other in fields[1:]),
        _distances(panel, image_id, field),
        " ".join(table.name for table in panel.tables if image_id in table.doubted),
    )  # fmt: skip


def _vote(panel: Panel, image_id: str) -> tuple[Labels, float]:
    """The labels with the most votes, in a tie those of the table given first; confidence."""
    votes = panel.votes(image_id)
    weights: dict[Labels, list[float]] = defaultdict(list)
    for table in panel.tables:
        for labels in sorted(table.answers.get(image_id, ()), key=sorted):
            weights[labels].append(panel.weight(table, image_id))
    first = leading(votes)
    winner = next(labels for labels in weights if labels in first)
    return winner, max(weights[winner]) * votes[winner] / sum(votes.values())


def _sides(panel: Panel, image_id: str, labels: Labels) -> tuple[str, str, str]:
    """Who says so, who says something else, and what. A table may stand on both sides."""
    answers = answers_for(panel.tables, image_id)
    others = {name: answer - {labels} for name, answer in answers.items() if answer - {labels}}
    return (
        " ".join(name for name, answer in answers.items() if labels in answer),
        " ".join(others),
        "; ".join(f"{name}: {answer_text(answer)}" for name, answer in others.items()),
    )


def _fields(panel: Panel, image_id: str) -> list[str]:
    """That the tables match: the one with the most weight first, in a tie in the order of names."""
    votes: dict[str, float] = defaultdict(float)
    for table in panel.tables:
        named = fields_in(table, image_id)
        for field in named:
            votes[field] += panel.weight(table, image_id) / len(named)
    return sorted(votes, key=lambda field: (-votes[field], field))


def _fullest(panel: Panel, image_id: str, field: str) -> str:
    """The match as the tables write it most fully: with its antibody, and its gene."""
    names = {row.match for rows in _rows(panel, image_id, field).values() for row in rows}
    return max(sorted(names), key=len, default="")


def _distances(panel: Panel, image_id: str, field: str) -> str:
    """`test_matches: SimR 10, SimG 6; leak_v4: Hash diff 2.0`: of the match, as written."""
    told = {
        name: ", ".join(f"{what} {number}" for what, number in rows[0].distances)
        for name, rows in _rows(panel, image_id, field).items()
    }
    return "; ".join(f"{name}: {numbers}" for name, numbers in told.items() if numbers)


def _rows(panel: Panel, image_id: str, field: str) -> dict[str, list[LeakRow]]:
    """By table, of the tables that name this field for the image; "": that name none."""
    found = {
        table.name: [row for row in table.by_id.get(image_id, ()) if row.field == field]
        for table in panel.tables
    }
    return {name: rows for name, rows in found.items() if rows}


def _text(labels: Labels) -> str:
    return format_labels(tuple(sorted(labels)))
