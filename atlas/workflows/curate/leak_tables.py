"""Leak tables read, compared, judged, merged and written."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from atlas.core.errors import DataError, UserError
from atlas.core.files import check_replaceable, content_hash, folder_written_beside, write_json
from atlas.dataset.artifacts import save_table
from atlas.dataset.spec import HPA_2018, AtlasSpec, read_spec
from atlas.dataset.tables import TABLES, Draft, id_problems, read_labelled, read_test
from atlas.report.leak_agreement_plot import TrustShown, save_agreement_plot
from atlas.workflows.submit.score import Share
from index.audit.agreement import (
    agreement_table,
    conflict_table,
    disputed_classes,
    source_table,
    summary_table,
)
from index.audit.leak_tables import Labels, LeakTable, field_of, read_leak_tables
from index.audit.trust import (
    Panel,
    class_differences,
    consensus_of_others,
    distrusted,
    merged_table,
    panel_of,
    sources_of,
    voices_of,
)

MERGED_FILE = "merged.csv"


@dataclass(frozen=True, kw_only=True)
class AuditedTables:
    """What the tables of index/audit/agreement.py and index/audit/trust.py hold.

    sources: labels beside those of the matches; without rows where these are not known. verdict:
    sentences. inputs: the hash of each file that was read.
    """

    panel: Panel
    summary: pd.DataFrame
    agreement: pd.DataFrame
    conflicts: pd.DataFrame
    classes: pd.DataFrame
    sources: pd.DataFrame
    merged: pd.DataFrame
    verdict: tuple[str, ...]
    inputs: dict[str, str]


def audit_leak_tables(
    paths: Sequence[Path], out: Path, *, data: Path | None, labels: Path | None
) -> AuditedTables:
    """Writes agreement.csv, conflicts.csv, merged.csv, agreement.png and audit.json to `out`.

    data: the atlas whose test images and labels are meant; None takes any id, and the labels of
    HPA 2018. labels: a table of labelled fields, Id and Target, that matches are looked up in.
    Raises UserError for what cannot be read.
    """
    check_replaceable(out, holds=MERGED_FILE)
    spec, test_ids = _atlas(data)
    count, hpa_ids = len(spec.labels), spec is HPA_2018
    tables = read_leak_tables(paths, label_count=count, test_ids=test_ids, hpa_ids=hpa_ids)
    labelled = _labelled(labels, count, hpa_ids=hpa_ids) if labels else {}
    panel = panel_of(tables, voices_of(tables))
    agreement = agreement_table(tables)
    sources = source_table(tables if labels else (), labelled)
    told = verdict_sentences(panel, agreement, sources, names=spec.labels)
    audited = AuditedTables(
        panel=panel,
        summary=summary_table(tables),
        agreement=agreement,
        conflicts=conflict_table(tables),
        classes=disputed_classes(tables, count),
        sources=sources,
        merged=merged_table(panel, labelled),
        verdict=tuple(told),
        inputs={p.name: content_hash(p.read_bytes()) for p in (*paths, labels) if p},
    )
    with folder_written_beside(out, holds=MERGED_FILE) as folder:
        _save(folder, audited)
    return audited


def _atlas(data: Path | None) -> tuple[AtlasSpec, frozenset[str]]:
    """What labels there are, and the test ids; no ids where there is no table of them."""
    if data is None:
        return HPA_2018, frozenset()
    if not data.is_dir():
        raise UserError(f"--data {data} is no folder; give that of the atlas, or leave --data")
    problems: list[str] = []
    drafts = tuple(read_test(data / TABLES["test"], problems))
    _refuse(data, drafts, problems)
    return read_spec(data), frozenset(draft.id for draft in drafts)


def _labelled(path: Path, label_count: int, *, hpa_ids: bool) -> dict[str, Labels]:
    """Labels by field."""
    problems: list[str] = []
    drafts = tuple(read_labelled(path, "train", label_count, problems, hpa_ids=hpa_ids))
    _refuse(path, drafts, problems)
    return {field_of(d.id, hpa_ids=hpa_ids): frozenset(d.labels or ()) for d in drafts}


def _refuse(where: Path, drafts: Sequence[Draft], problems: list[str]) -> None:
    """Raises DataError where the rows have problems."""
    problems += id_problems(drafts)
    if problems:
        raise DataError(str(where), problems)


def _save(folder: Path, audited: AuditedTables) -> None:
    panel = audited.panel
    save_table(folder / "agreement.csv", audited.agreement)
    save_table(folder / "conflicts.csv", audited.conflicts)
    save_table(folder / MERGED_FILE, audited.merged)
    shown = {
        name: TrustShown(equal=trust.equal, of=trust.of, interval=trust.interval)
        for name, trust in panel.trust.items()
    }
    save_agreement_plot(folder / "agreement.png", audited.agreement, shown)
    about = {
        "inputs": audited.inputs,
        "tables": _records(audited.summary),
        "columns": {table.name: asdict(table.columns) for table in panel.tables},
        "voices": panel.voices,
        "sources": sources_of(panel.tables),
        "trust": {
            name: {**asdict(trust), "interval": trust.interval, "weight": trust.weight}
            for name, trust in panel.trust.items()
        },
        "distrusted": distrusted(panel),
        "verdict": audited.verdict,
        "disputed_classes": _records(audited.classes),
        "labels_beside_those_of_the_matches": _records(audited.sources),
    }
    write_json(folder / "audit.json", about)


def _records(table: pd.DataFrame) -> list[Mapping[str, Any]]:
    """Rows as JSON takes them: what is not known is null."""
    rows: list[Mapping[str, Any]] = json.loads(table.to_json(orient="records"))
    return rows


# What the audit of leak tables says in sentences.


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
