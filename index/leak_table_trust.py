"""How far each leak table repeats the consensus of the others, and which to distrust.

Tables were copied from one another, so their number proves nothing: tables that hardly ever differ
are one voice with one vote, and never confirm each other. The consensus is weighted by trust, and
trust is how often a table repeats the consensus; the two are found in turns, as in truth discovery
(Yin, Han and Yu 2008). Whoever agrees with the rest may still be wrong with the rest.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose

import pandas as pd
from scipy.sparse.csgraph import connected_components

from atlas.leak_tables import Labels, LeakTable
from atlas.metrics import exact_interval
from index.leak_table_audit import agreement_table, all_ids

ONE_VOICE = 0.95  # tables are one voice where they surely agree on so much of what they share
DOUBTED = 0.5  # what a row counts that its own author doubts
ROUNDS = 20
DIFFERENCE_COLUMNS = ("label", "added", "lacking")

Voices = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Trust:
    """equal: ids on which the table repeats the consensus, of those where there is one and the
    table has one label set that its author does not doubt."""

    equal: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """Exact, 95 %."""
        return exact_interval(self.equal, self.of)

    @property
    def weight(self) -> float:
        """Laplace's rule of succession: a half where nothing is known, and never 0 or 1."""
        return (self.equal + 1) / (self.of + 2)


def voices_of(tables: Sequence[LeakTable]) -> dict[str, int]:
    """The number of the voice of each table, from 0 in the order of the tables.

    One voice: equal answers throughout, or the exact interval of their agreement above ONE_VOICE.
    """
    at = {table.name: n for n, table in enumerate(tables)}
    together = [[0] * len(tables) for _ in tables]
    pairs = agreement_table(tables)
    for one, other, low in zip(pairs["table"], pairs["other"], pairs["low"], strict=True):
        a, b = at[one], at[other]
        together[a][b] = int(low >= ONE_VOICE or tables[a].answers == tables[b].answers)
    _, component_T = connected_components(together, directed=False)
    number: dict[int, int] = {}
    return {
        table.name: number.setdefault(int(component), len(number))
        for table, component in zip(tables, component_T, strict=True)
    }


def trust_in(tables: Sequence[LeakTable], voices: Voices) -> dict[str, Trust]:
    """By table; the rounds end where nothing changes."""
    found: dict[str, Trust] = {}
    weights = {table.name: 1.0 for table in tables}
    for _ in range(ROUNDS):
        before, found = found, {t.name: _trust(t, tables, voices, weights) for t in tables}
        if found == before:
            break
        weights = {name: trust.weight for name, trust in found.items()}
    return found


def distrusted(trust: Mapping[str, Trust], voices: Voices) -> tuple[str, ...]:
    """Tables whose interval lies below that of every table of most of the other voices.

    None where there are fewer than three voices: of two that differ nobody knows which is right.
    """
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


def votes_for(
    tables: Sequence[LeakTable], voices: Voices, weights: Mapping[str, float], image_id: str
) -> dict[Labels, float]:
    """Votes by label set. A voice's vote is shared by its tables that know the image, and a
    table's by its label sets."""
    speaking = [table for table in tables if image_id in table.answers]
    crowd = Counter(voices[table.name] for table in speaking)
    votes: dict[Labels, float] = defaultdict(float)
    for table in speaking:
        answer = table.answers[image_id]
        weight = weight_of(table, weights, image_id) / crowd[voices[table.name]]
        for labels in answer:
            votes[labels] += weight / len(answer)
    return dict(votes)


def weight_of(table: LeakTable, weights: Mapping[str, float], image_id: str) -> float:
    return weights[table.name] * (DOUBTED if image_id in table.doubted else 1.0)


def leading(votes: Mapping[Labels, float]) -> list[Labels]:
    """The label sets with the most votes: several in a tie, none without votes."""
    most = max(votes.values(), default=0.0)
    return [labels for labels, count in votes.items() if isclose(count, most, rel_tol=1e-9)]


def consensus_of_others(
    table: LeakTable, tables: Sequence[LeakTable], voices: Voices, weights: Mapping[str, float]
) -> dict[str, Labels]:
    """By id, what the other voices say of the table's images; nothing where they are in a tie."""
    others = [other for other in tables if voices[other.name] != voices[table.name]]
    found = {i: leading(votes_for(others, voices, weights, i)) for i in table.answers}
    return {i: labels[0] for i, labels in found.items() if len(labels) == 1}


def judged_ids(table: LeakTable, consensus: Mapping[str, Labels]) -> list[str]:
    """Where the table says one thing, which its author does not doubt, and the others do too."""
    return [i for i in consensus if len(table.answers[i]) == 1 and i not in table.doubted]


def class_differences(table: LeakTable, consensus: Mapping[str, Labels]) -> pd.DataFrame:
    """DIFFERENCE_COLUMNS, the most frequent first: what the table adds to the consensus of the
    others, and what it lacks, in ids."""
    added: Counter[int] = Counter()
    lacking: Counter[int] = Counter()
    for image_id in judged_ids(table, consensus):
        (own,) = table.answers[image_id]
        added.update(own - consensus[image_id])
        lacking.update(consensus[image_id] - own)
    labels = sorted(added.keys() | lacking.keys(), key=lambda c: (-added[c] - lacking[c], c))
    rows = [(label, added[label], lacking[label]) for label in labels]
    return pd.DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))


def _trust(
    table: LeakTable, tables: Sequence[LeakTable], voices: Voices, weights: Mapping[str, float]
) -> Trust:
    consensus = consensus_of_others(table, tables, voices, weights)
    judged = judged_ids(table, consensus)
    equal = sum(table.answers[i] == frozenset([consensus[i]]) for i in judged)
    return Trust(equal=equal, of=len(judged))
