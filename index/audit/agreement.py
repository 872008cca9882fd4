"""Agreement between leak tables: where their labels agree, conflict, and for which labels they do.

The answer of a table for an image is the set of the label sets of its rows. Two answers agree if
they are equal; the order in which labels are written does not matter.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import pandas as pd

from atlas.dataset.labels import format_labels
from atlas.dataset.metrics import exact_interval
from index.audit.leak_tables import Answer, Labels, LeakTable

# The relations of a first answer to a second one.
EQUAL, MORE, FEWER = "equal", "more", "fewer"
OVERLAPPING, DISJOINT = "overlapping", "disjoint"
ONE_OF_SEVERAL, NONE_OF_SEVERAL = "one_of_several", "none_of_several"
RELATIONS = (EQUAL, MORE, FEWER, OVERLAPPING, DISJOINT, ONE_OF_SEVERAL, NONE_OF_SEVERAL)

SUMMARY_COLUMNS = (
    "table", "rows", "ids", "ids_with_several_rows", "ids_with_several_label_sets",
    "ids_without_labels", "questionable", "non_matches",
)  # fmt: skip
AGREEMENT_COLUMNS = (
    "table", "other", "shared", "equal", "share", "low", "high", "held", "written_alike",
    *RELATIONS[1:], "both_matched", "same_match",
)  # fmt: skip
CONFLICT_COLUMNS = ("Id", "table", "labels", "other", "other_labels", "relation")
CLASS_COLUMNS = ("label", "stated", "disputed", "share")
SOURCE_COLUMNS = ("table", "rows", "known", "equal", "share", "low", "high", *RELATIONS[1:5])


def summary_table(tables: Sequence[LeakTable]) -> pd.DataFrame:
    """Return one row of SUMMARY_COLUMNS for each table."""
    rows = [
        (
            table.name, len(table.rows), len(table.by_id),
            sum(len(rows) > 1 for rows in table.by_id.values()),
            sum(len(answer) > 1 for answer in table.answers.values()),
            len(table.by_id) - len(table.answers), len(table.doubted), table.non_matches,
        )
        for table in tables
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def relation_of(own: Answer, other: Answer) -> str:
    """Return how the first answer relates to the second, as one of RELATIONS.

    If an answer has several label sets, the relation says only whether the two have a set in
    common.
    """
    if own == other:
        return EQUAL
    if len(own) > 1 or len(other) > 1:
        return ONE_OF_SEVERAL if own & other else NONE_OF_SEVERAL
    (mine,), (theirs,) = own, other
    if mine > theirs:
        return MORE
    if mine < theirs:
        return FEWER
    return OVERLAPPING if mine & theirs else DISJOINT


def agreement_table(tables: Sequence[LeakTable]) -> pd.DataFrame:
    """Return one row of AGREEMENT_COLUMNS for each pair of tables, in the order of the tables.

    The columns are:

    - shared: the number of ids that have labels in both tables; the counts of RELATIONS add up to
      it.
    - low, high: the exact 95% interval of the share of equal answers.
    - held: the number of ids for which one table holds all label sets of the other.
    - written_alike: the number of ids for which both tables have a row with the same labels in the
      same order, which suggests a common source.
    - both_matched: the number of ids for which both tables name matches.
    - same_match: the number of those ids for which they have a match in common.
    """
    rows = [_agreement(one, other) for one, other in combinations(tables, 2)]
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


def conflict_table(tables: Sequence[LeakTable]) -> pd.DataFrame:
    """Return one row of CONFLICT_COLUMNS for each conflict, in the order of ids.

    A conflict is an answer with several label sets, or a pair of tables whose answers differ. If
    the conflict lies within one table, `other` is that table and `labels` holds the label sets.
    """
    rows = [row for image_id in all_ids(tables) for row in _conflicts(tables, image_id)]
    return pd.DataFrame(rows, columns=list(CONFLICT_COLUMNS))


def disputed_classes(tables: Sequence[LeakTable], label_count: int) -> pd.DataFrame:
    """Return one row of CLASS_COLUMNS for each label that a table states, the most disputed first.

    `stated` counts the ids for which some label set has the label, and `disputed` counts those of
    them for which another label set lacks it.
    """
    stated: Counter[int] = Counter()
    disputed: Counter[int] = Counter()
    for image_id in all_ids(tables):
        sets = [labels for answer in answers_for(tables, image_id).values() for labels in answer]
        if sets:
            union = frozenset.union(*sets)
            stated.update(union)
            disputed.update(union - frozenset.intersection(*sets))
    rows = [
        (label, stated[label], disputed[label], disputed[label] / stated[label])
        for label in range(label_count)
        if stated[label]
    ]
    table = pd.DataFrame(rows, columns=list(CLASS_COLUMNS))
    return table.sort_values(["disputed", "label"], ascending=[False, True], ignore_index=True)


def source_table(tables: Sequence[LeakTable], labelled: Mapping[str, Labels]) -> pd.DataFrame:
    """Compare the labels of each table that names matches with the labels of these matches.

    Args:
        tables: The leak tables.
        labelled: The labels of each known field.

    Returns:
        One row of SOURCE_COLUMNS for each such table. `rows` counts the rows that have a match and
        labels, and `known` those whose match is labelled.
    """
    rows = []
    for table in tables:
        named = [row for row in table.rows if row.field and row.labels]
        if named:
            counts = Counter(
                relation_of(_one(row.labels), _one(labelled[row.field]))
                for row in named
                if row.field in labelled
            )
            shares = _shares(counts[EQUAL], counts.total())
            rows.append((table.name, len(named), counts.total(), counts[EQUAL], *shares,
                         *(counts[relation] for relation in RELATIONS[1:5])))  # fmt: skip
    return pd.DataFrame(rows, columns=list(SOURCE_COLUMNS))


def all_ids(tables: Sequence[LeakTable]) -> list[str]:
    """Return every id once, in the order of the tables and of their rows."""
    return list(dict.fromkeys(row.id for table in tables for row in table.rows))


def answers_for(tables: Sequence[LeakTable], image_id: str) -> dict[str, Answer]:
    """Return the answer of each table that has labels for the image, by the name of the table."""
    return {t.name: t.answers[image_id] for t in tables if image_id in t.answers}


def answer_text(answer: Answer) -> str:
    """Return the label sets in order, with labels by number, such as `0 25 | 5`."""
    return " | ".join(map(format_labels, sorted(map(sorted, answer))))


def fields_in(table: LeakTable, image_id: str) -> frozenset[str]:
    """Return the fields that the table names as matches of the image."""
    rows = table.by_id.get(image_id, ())
    return frozenset(row.field for row in rows if row.field)


def _agreement(one: LeakTable, other: LeakTable) -> tuple[str | int | float, ...]:
    shared = [i for i in one.answers if i in other.answers]
    pairs = [(one.answers[i], other.answers[i]) for i in shared]
    counts = Counter(relation_of(own, theirs) for own, theirs in pairs)
    held = sum(own <= theirs or own >= theirs for own, theirs in pairs)
    alike = sum(bool(_written(one, i) & _written(other, i)) for i in shared)
    fields = [(fields_in(one, i), fields_in(other, i)) for i in shared]
    matched = [bool(own & theirs) for own, theirs in fields if own and theirs]
    return (
        one.name, other.name, len(shared), counts[EQUAL], *_shares(counts[EQUAL], len(shared)),
        held, alike, *(counts[relation] for relation in RELATIONS[1:]), len(matched), sum(matched),
    )  # fmt: skip


def _conflicts(tables: Sequence[LeakTable], image_id: str) -> Iterator[tuple[str, ...]]:
    answers = answers_for(tables, image_id)
    for name, answer in answers.items():
        if len(answer) > 1:
            yield image_id, name, answer_text(answer), name, "", "several"
    for (one, own), (other, theirs) in combinations(answers.items(), 2):
        if own != theirs:
            reported = (one, answer_text(own), other, answer_text(theirs))
            yield image_id, *reported, relation_of(own, theirs)


def _shares(count: int, of: int) -> tuple[float, float, float]:
    """Return the share (NaN if there is nothing to count) and its exact 95% interval."""
    return (count / of if of else float("nan"), *exact_interval(count, of))


def _written(table: LeakTable, image_id: str) -> frozenset[tuple[int, ...]]:
    return frozenset(row.labels for row in table.by_id[image_id])


def _one(labels: Sequence[int] | Labels) -> Answer:
    return frozenset([frozenset(labels)])
