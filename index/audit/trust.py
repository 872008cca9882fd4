"""Trust in leak tables, and one merged table of all of them.

For each leak table, this module measures how often it repeats the consensus of the others and says
which tables to distrust. The merged table has labels by vote, and names for each row the tables
that agree and those that disagree.

Many tables were copied from one another, so their number proves nothing. Tables that hardly ever
differ form one voice with one vote, and never confirm each other. The consensus is weighted by
trust, and trust is the share of ids on which a table repeats the consensus; both are found by
iteration, as in truth discovery (Yin, Han and Yu 2008). A table that agrees with all others can
still be wrong together with them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isclose

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from atlas.dataset.labels import format_labels
from atlas.dataset.metrics import exact_interval
from index.audit.agreement import agreement_table, all_ids, answer_text, answers_for, fields_in
from index.audit.leak_tables import Labels, LeakRow, LeakTable

ONE_VOICE = 0.95  # tables whose agreement is certainly above this share are one voice
DOUBTED = 0.5  # the weight of a row that its own author doubts
ROUNDS = 20
DIFFERENCE_COLUMNS = ("label", "added", "lacking")
TRUST_COLUMNS = (
    "table",
    "voice",
    "source",
    "judged",
    "equal",
    "share",
    "low",
    "high",
    "distrusted",
)
MERGED_COLUMNS = (
    "Id", "labels", "confidence", "tables", "disagree", "other_labels", "match_id", "match_labels",
    "other_matches", "distances", "questioned_by",
)  # fmt: skip

Voices = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The record of a table: how often it repeats the consensus of the others.

    Attributes:
        equal: The number of ids on which it does.
        of: The number of ids that have a consensus, and for which the table has a single label set
            that its author does not doubt.
    """

    equal: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """Return the exact 95% interval of the share."""
        return exact_interval(self.equal, self.of)

    @property
    def weight(self) -> float:
        """Return the share by Laplace's rule of succession: 0.5 without data, and never 0 or 1."""
        return (self.equal + 1) / (self.of + 2)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Tables that vote together.

    Attributes:
        tables: The tables.
        voices: The number of the voice of each table, by name.
        trust: The trust in each table, by name.
    """

    tables: tuple[LeakTable, ...]
    voices: Voices
    trust: Mapping[str, Trust]

    def weight(self, table: LeakTable, image_id: str) -> float:
        """Return the weight of a table's answer for an image."""
        doubt = DOUBTED if image_id in table.doubted else 1.0
        return self.trust[table.name].weight * doubt

    def others(self, table: LeakTable) -> "Panel":
        """Return the panel without the voice of the table."""
        voice = self.voices[table.name]
        return replace(self, tables=tuple(t for t in self.tables if self.voices[t.name] != voice))

    def votes(self, image_id: str) -> dict[Labels, float]:
        """Return the votes for each label set.

        The tables of a voice that know the image share one vote, and each table divides its part
        among its label sets.
        """
        speaking = [table for table in self.tables if image_id in table.answers]
        crowd = Counter(self.voices[table.name] for table in speaking)
        votes: dict[Labels, float] = defaultdict(float)
        for table in speaking:
            answer = table.answers[image_id]
            share = self.weight(table, image_id) / crowd[self.voices[table.name]] / len(answer)
            for labels in answer:
                votes[labels] += share
        return dict(votes)


def voices_of(tables: Sequence[LeakTable]) -> dict[str, int]:
    """Return the number of the voice of each table, from 0 in the order of the tables.

    Two tables are one voice if the exact interval of their agreement lies above ONE_VOICE, or if
    all their answers are equal.
    """
    return _together(tables, "equal")


def sources_of(tables: Sequence[LeakTable]) -> dict[str, int]:
    """Return the number of the source of each table, like `voices_of`.

    Two tables have one source if one holds what the other says. A table that was made from another
    one by adding candidates has a voice of its own but is not a second source.
    """
    return _together(tables, "held")


def panel_of(tables: Sequence[LeakTable], voices: Voices) -> Panel:
    """Return the panel with the trust that the tables earn from one another.

    The iteration stops when nothing changes.
    """
    nothing = {table.name: Trust(equal=0, of=0) for table in tables}
    panel = Panel(tables=tuple(tables), voices=voices, trust=nothing)
    for _ in range(ROUNDS):
        found = {table.name: _trust(table, consensus_of_others(table, panel)) for table in tables}
        if found == panel.trust:
            break
        panel = replace(panel, trust=found)
    return panel


def distrusted(panel: Panel) -> tuple[str, ...]:
    """Return the tables whose interval lies below that of every table of most of the other voices.

    With fewer than three voices no table is distrusted: if two differ, nobody knows which is right.
    """
    trust, voices = panel.trust, panel.voices
    numbers = set(voices.values())
    if len(numbers) < 3:
        return ()

    def lies_below(name: str, voice: int) -> bool:
        high = trust[name].interval[1]
        return all(high < trust[other].interval[0] for other in trust if voices[other] == voice)

    return tuple(
        name
        for name in trust
        if sum(lies_below(name, v) for v in numbers - {voices[name]}) > (len(numbers) - 1) / 2
    )


def trust_table(panel: Panel) -> pd.DataFrame:
    """Return one row of TRUST_COLUMNS for each table.

    A row has the numbers of the table's voice and source, and how often the table repeats the
    consensus of the others on the ids where it can be judged, with the 95% interval.
    """
    sources, suspects = sources_of(panel.tables), distrusted(panel)
    rows = [
        (
            name, panel.voices[name], sources[name], trust.of, trust.equal,
            trust.equal / trust.of if trust.of else float("nan"), *trust.interval,
            "yes" if name in suspects else "no",
        )
        for name, trust in panel.trust.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(TRUST_COLUMNS))


def leading(votes: Mapping[Labels, float]) -> list[Labels]:
    """Return the label sets with the most votes: several in a tie, none without votes."""
    most = max(votes.values(), default=0.0)
    return [labels for labels, count in votes.items() if isclose(count, most, rel_tol=1e-9)]


def consensus_of_others(table: LeakTable, panel: Panel) -> dict[str, Labels]:
    """Return what the other voices say of the table's images, by id; ties are left out."""
    others = panel.others(table)
    found = {image_id: leading(others.votes(image_id)) for image_id in table.answers}
    return {image_id: labels[0] for image_id, labels in found.items() if len(labels) == 1}


def judged_ids(table: LeakTable, consensus: Mapping[str, Labels]) -> list[str]:
    """Return the ids on which the table can be judged.

    On these the table has a single answer that its author does not doubt, and there is a consensus.
    """
    return [i for i in consensus if len(table.answers[i]) == 1 and i not in table.doubted]


def class_differences(table: LeakTable, consensus: Mapping[str, Labels]) -> pd.DataFrame:
    """Return one row of DIFFERENCE_COLUMNS for each label that differs, the most frequent first.

    The counts are ids for which the table adds the label to the consensus of the others, or lacks
    it.
    """
    added: Counter[int] = Counter()
    lacking: Counter[int] = Counter()
    for image_id in judged_ids(table, consensus):
        (own,) = table.answers[image_id]
        added.update(own - consensus[image_id])
        lacking.update(consensus[image_id] - own)
    labels = sorted(added.keys() | lacking.keys(), key=lambda c: (-added[c] - lacking[c], c))
    rows = [(label, added[label], lacking[label]) for label in labels]
    return pd.DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))


def merged_table(panel: Panel, labelled: Mapping[str, Labels]) -> pd.DataFrame:
    """Return one row of MERGED_COLUMNS for each test image that has labels in some table.

    The confidence is the trust in the best table that supports the labels, times the share of the
    votes. It does not increase with the number of tables, because they repeat one another.

    Args:
        panel: The tables with their trust.
        labelled: The labels of known matches, by field.
    """
    rows = [
        _row(panel, image_id, labelled)
        for image_id in all_ids(panel.tables)
        if answers_for(panel.tables, image_id)
    ]
    return pd.DataFrame(rows, columns=list(MERGED_COLUMNS))


def _trust(table: LeakTable, consensus: Mapping[str, Labels]) -> Trust:
    judged = judged_ids(table, consensus)
    equal = sum(table.answers[i] == frozenset([consensus[i]]) for i in judged)
    return Trust(equal=equal, of=len(judged))


def _together(tables: Sequence[LeakTable], counted: str) -> dict[str, int]:
    """Number the connected groups of tables.

    Two tables are connected if the share of `counted`, a column of the agreement table, among their
    shared ids is certainly high.
    """
    at = {table.name: n for n, table in enumerate(tables)}
    tied_TT = np.eye(len(tables), dtype=bool)
    for pair in agreement_table(tables).to_dict("records"):
        a, b = at[pair["table"]], at[pair["other"]]
        low, _ = exact_interval(pair[counted], pair["shared"])
        tied_TT[a, b] = low >= ONE_VOICE or tables[a].answers == tables[b].answers
    _, component_T = connected_components(tied_TT, directed=False)
    return dict(zip(at, component_T.tolist(), strict=True))


def _row(panel: Panel, image_id: str, labelled: Mapping[str, Labels]) -> tuple[str | float, ...]:
    labels, confidence = _vote(panel, image_id)
    fields = _fields(panel, image_id)
    field = fields[0] if fields else ""
    return (
        image_id, format_labels(sorted(labels)), confidence, *_sides(panel, image_id, labels),
        _fullest(panel, image_id, field), format_labels(sorted(labelled.get(field, ()))),
        " ".join(_fullest(panel, image_id, other) for other in fields[1:]),
        _distances(panel, image_id, field),
        " ".join(table.name for table in panel.tables if image_id in table.doubted),
    )  # fmt: skip


def _vote(panel: Panel, image_id: str) -> tuple[Labels, float]:
    """Return the labels with the most votes and their confidence; ties go to the first table."""
    votes = panel.votes(image_id)
    weights: dict[Labels, list[float]] = defaultdict(list)
    for table in panel.tables:
        for labels in sorted(table.answers.get(image_id, ()), key=sorted):
            weights[labels].append(panel.weight(table, image_id))
    first = leading(votes)
    winner = next(labels for labels in weights if labels in first)
    return winner, max(weights[winner]) * votes[winner] / sum(votes.values())


def _sides(panel: Panel, image_id: str, labels: Labels) -> tuple[str, str, str]:
    """Return the tables that agree, the tables that disagree, and what those say.

    A table with several label sets can be on both sides.
    """
    answers = answers_for(panel.tables, image_id)
    others = {name: answer - {labels} for name, answer in answers.items() if answer - {labels}}
    return (
        " ".join(name for name, answer in answers.items() if labels in answer),
        " ".join(others),
        "; ".join(f"{name}: {answer_text(answer)}" for name, answer in others.items()),
    )


def _fields(panel: Panel, image_id: str) -> list[str]:
    """Return the matched fields, the one with the most weight first, ties in the order of names."""
    votes: dict[str, float] = defaultdict(float)
    for table in panel.tables:
        named = fields_in(table, image_id)
        for field in named:
            votes[field] += panel.weight(table, image_id) / len(named)
    return sorted(votes, key=lambda field: (-votes[field], field))


def _fullest(panel: Panel, image_id: str, field: str) -> str:
    """Return the longest form in which a table writes the match: with its antibody and gene."""
    names = {row.match for rows in _rows(panel, image_id, field).values() for row in rows}
    return max(sorted(names), key=len, default="")


def _distances(panel: Panel, image_id: str, field: str) -> str:
    """Return the distances of the match by table, such as `test_matches: SimR 10, SimG 6`."""
    reported = {
        name: ", ".join(f"{what} {number}" for what, number in rows[0].distances)
        for name, rows in _rows(panel, image_id, field).items()
    }
    return "; ".join(f"{name}: {numbers}" for name, numbers in reported.items() if numbers)


def _rows(panel: Panel, image_id: str, field: str) -> dict[str, list[LeakRow]]:
    """Return, by table, the rows that name this field for the image, or no field for ""."""
    found = {
        table.name: [row for row in table.by_id.get(image_id, ()) if row.field == field]
        for table in panel.tables
    }
    return {name: rows for name, rows in found.items() if rows}
