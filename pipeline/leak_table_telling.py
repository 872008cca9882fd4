"""What the audit of leak tables says in sentences."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from atlas.leak_tables import LeakTable
from index.leak_table_trust import (
    Panel,
    class_differences,
    consensus_of_others,
    distrusted,
    sources_of,
)
from pipeline.scoring import Share

NAMED = 3  # labels in a sentence


def verdict_sentences(
    panel: Panel, agreement: pd.DataFrame, sources: pd.DataFrame, *, names: Sequence[str]
) -> Iterator[str]:
    """On each table, on pairs, and on what the verdict rests. names: of the labels."""
    suspects, source = distrusted(panel), sources_of(panel.tables)
    for table in panel.tables:
        yield _on_table(table, panel)
        if table.name in suspects:
            yield f"{table.name}: beside the consensus, {_classes(table, panel, names)}"
    for _, pair in agreement.iterrows():
        yield from _on_pair(pair, panel.voices, source)
    for row in sources.to_dict("records"):
        known = Share(count=row["equal"], of=row["known"])
        yield f"{row['table']}: rows with the labels of their known match: {known}"
    yield from _on_ground(panel.voices, source)


def columns_in_words(table: LeakTable) -> str:
    """What was taken for what, and what was left."""
    columns = table.columns
    said = f"{table.name}: test id from {columns.id!r}, labels from {columns.labels!r}"
    for what, name in (("match", columns.match), ("questionable", columns.doubt)):
        said += f", {what} from {name!r}" if name else ""
    if columns.distances:
        said += f", distances from {', '.join(map(repr, columns.distances))}"
    if columns.unread:
        said += f"; not read: {', '.join(map(repr, columns.unread))}"
    if table.strangers:
        said += f"; {table.strangers} rows left out, whose ids are no test images"
    return said


def _on_table(table: LeakTable, panel: Panel) -> str:
    trust = panel.trust[table.name]
    if not trust.of:
        return f"{table.name}: cannot be judged, no other voice decides on its ids"
    said = "DISTRUST it, it repeats" if table.name in distrusted(panel) else "repeats"
    said += f" the consensus of the others: {Share(count=trust.equal, of=trust.of)}"
    several = sum(len(answer) > 1 for answer in table.answers.values())
    if several:
        said += f"; has several label sets for {several} of {len(table.answers)}"
    return f"{table.name}: {said}"


def _classes(table: LeakTable, panel: Panel, names: Sequence[str]) -> str:
    """`label 0 (Nucleoplasm) is added 42 and lacking 18 times, ...`: the most frequent ones."""
    found = class_differences(table, consensus_of_others(table, panel))
    return ", ".join(
        f"label {label} ({names[label]}) is added {added} and lacking {lacking} times"
        for label, added, lacking in found[:NAMED].itertuples(index=False)
    )


def _on_pair(
    pair: pd.Series, voices: Mapping[str, int], source: Mapping[str, int]
) -> Iterator[str]:
    """What ties two tables, or that they differ about labels and not about copies."""
    one, other, shared = pair["table"], pair["other"], pair["shared"]
    equal = Share(count=pair["equal"], of=shared)
    if voices[one] == voices[other]:
        yield f"{one} and {other}: one voice with one vote, for equal are {equal}"
    elif source[one] == source[other]:
        yield (
            f"{one} and {other}: one holds what the other says on {pair['held']} of {shared} ids, "
            f"on {pair['written_alike']} written in the same order; perhaps of one source"
        )
    elif pair["both_matched"]:
        yield (
            f"{one} and {other}: the same match on {pair['same_match']} of {pair['both_matched']} "
            f"ids, the same labels on {equal}"
        )


def _on_ground(voices: Mapping[str, int], source: Mapping[str, int]) -> Iterator[str]:
    voice_count, source_count = len(set(voices.values())), len(set(source.values()))
    if voice_count < 3:
        yield (
            f"{_counted(voice_count, 'voice')}: with fewer than three no table can be told to be "
            "the wrong one; give more tables, or look at some of the images"
        )
    elif source_count < 3:
        yield (
            f"caution: the {voice_count} voices seem to have {_counted(source_count, 'source')}; "
            "which source is right, agreement cannot say; look at some of the images"
        )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
