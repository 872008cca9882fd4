"""Audit of leak tables: read, compare, judge and merge them, and write the result."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from atlas.core.errors import DataError, UserError
from atlas.core.files import content_hash, write_json
from atlas.core.locks import writes
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.dataset.artifacts import save_table
from atlas.dataset.spec import HPA_2018, AtlasSpec, read_spec
from atlas.dataset.tables import TABLES, Draft, id_problems, read_labelled, read_test
from atlas.report.leak_plots import save_agreement_plot
from index.audit.agreement import (
    agreement_table,
    conflict_table,
    disputed_classes,
    source_table,
    summary_table,
)
from index.audit.leak_tables import Labels, LeakTableReader, field_of
from index.audit.trust import (
    DIFFERENCE_COLUMNS,
    Panel,
    class_differences,
    consensus_of_others,
    distrusted,
    merged_table,
    panel_of,
    sources_of,
    trust_table,
    voices_of,
)
from index.settings import LeakColumns

MERGED_FILE = "merged.csv"


@dataclass(frozen=True, kw_only=True)
class AuditedTables:
    """The result of an audit; see index/audit/agreement.py and index/audit/trust.py for the tables.

    Attributes:
        panel: The tables with their trust.
        summary: The counts of each table.
        agreement: The agreement of each pair of tables.
        trust: How often each table repeats the consensus of the others.
        differences: The labels in which distrusted tables differ from the consensus.
        conflicts: The images on which tables disagree.
        classes: The most disputed labels.
        sources: The labels of each table compared with those of its matches; empty without
            `labels`.
        merged: One table of all, by vote.
        cautions: Warnings about what agreement cannot show.
        inputs: The hash of each file that was read.
    """

    panel: Panel
    summary: pd.DataFrame
    agreement: pd.DataFrame
    trust: pd.DataFrame
    differences: pd.DataFrame
    conflicts: pd.DataFrame
    classes: pd.DataFrame
    sources: pd.DataFrame
    merged: pd.DataFrame
    cautions: tuple[str, ...]
    inputs: dict[str, str]

    @property
    def columns(self) -> pd.DataFrame:
        """Return which column of each table was used for what; "" if there is none."""
        rows = [{"table": table.name, **asdict(table.columns)} for table in self.panel.tables]
        for row in rows:
            row |= {kind: ", ".join(row[kind]) for kind in ("distances", "unread")}
        return pd.DataFrame(rows).fillna("")


@writes("out", command="audit_leaks")
def audit_leak_tables(
    paths: Sequence[Path],
    out: Path,
    *,
    data: Path | None = None,
    labels: Path | None = None,
    columns: LeakColumns = LeakColumns(),
) -> AuditedTables:
    """Write agreement.csv, conflicts.csv, merged.csv, agreement.png and audit.json to `out`.

    Args:
        paths: The leak tables.
        out: The folder to write.
        data: The atlas folder with the test images and labels. By default all ids and the labels of
            HPA 2018 are accepted.
        labels: A table of labelled fields (Id, Target), in which matches are looked up.
        columns: The names that columns may have.

    Raises:
        UserError: A file cannot be read.
    """
    check_replaceable(out, "audit_leaks")
    spec, test_ids = _atlas(data)
    count, hpa_ids = len(spec.labels), spec is HPA_2018
    reader = LeakTableReader(label_count=count, test_ids=test_ids, hpa_ids=hpa_ids, names=columns)
    tables = reader.read_all(paths)
    labelled = _labelled(labels, spec) if labels else {}
    panel = panel_of(tables, voices_of(tables))
    trust = trust_table(panel)
    audited = AuditedTables(
        panel=panel,
        summary=summary_table(tables),
        agreement=agreement_table(tables),
        trust=trust,
        differences=_differences(panel, spec.labels),
        conflicts=conflict_table(tables),
        classes=disputed_classes(tables, count),
        sources=source_table(tables if labels else (), labelled),
        merged=merged_table(panel, labelled),
        cautions=cautions(trust["voice"].nunique(), trust["source"].nunique()),
        inputs={p.name: content_hash(p.read_bytes()) for p in (*paths, labels) if p},
    )
    with folder_written_beside(out, written_by="audit_leaks") as folder:
        _save(folder, audited)
    return audited


def cautions(voices: int, sources: int) -> tuple[str, ...]:
    """Return warnings about what the agreement of so few voices or sources cannot show."""
    if voices < 3:
        return (f"There are only {voices} independent tables (voices). With fewer than three, "
                "agreement cannot show which table is wrong: give more tables, or look at some of "
                "the images.",)  # fmt: skip
    if sources < 3:
        return (f"The {voices} voices seem to come from only {sources} sources. Agreement cannot "
                "show which source is right: look at some of the images.",)  # fmt: skip
    return ()


def _atlas(data: Path | None) -> tuple[AtlasSpec, frozenset[str]]:
    """Return the description of the atlas and its test images; without `data` no test images."""
    if data is None:
        return HPA_2018, frozenset()
    if not data.is_dir():
        raise UserError(f"--data {data} is not a folder; give the atlas folder, or omit --data")
    problems: list[str] = []
    drafts, spec = tuple(read_test(data / TABLES["test"], problems)), read_spec(data)
    _refuse(data, drafts, problems, spec)
    return spec, frozenset(draft.id for draft in drafts)


def _labelled(path: Path, spec: AtlasSpec) -> dict[str, Labels]:
    problems: list[str] = []
    hpa_ids = spec is HPA_2018
    drafts = tuple(read_labelled(path, "train", len(spec.labels), problems, hpa_ids=hpa_ids))
    _refuse(path, drafts, problems, spec)
    return {field_of(d.id, hpa_ids=hpa_ids): frozenset(d.labels or ()) for d in drafts}


def _refuse(where: Path, drafts: Sequence[Draft], problems: list[str], spec: AtlasSpec) -> None:
    """Raise DataError if the rows have problems."""
    problems += id_problems(drafts, spec.names)
    if problems:
        raise DataError(str(where), problems)


def _differences(panel: Panel, names: Sequence[str]) -> pd.DataFrame:
    """Return how distrusted tables differ from the consensus of the others.

    The columns are table, label, name, added and lacking.
    """
    parts = [pd.DataFrame(columns=["table", *DIFFERENCE_COLUMNS])]
    for table in panel.tables:
        if table.name in distrusted(panel):
            found = class_differences(table, consensus_of_others(table, panel))
            parts.append(found.assign(table=table.name))
    differences = pd.concat(parts, ignore_index=True)
    differences.insert(2, "name", [names[label] for label in differences["label"]])
    return differences


def _save(folder: Path, audited: AuditedTables) -> None:
    panel = audited.panel
    save_table(folder / "agreement.csv", audited.agreement)
    save_table(folder / "conflicts.csv", audited.conflicts)
    save_table(folder / MERGED_FILE, audited.merged)
    save_agreement_plot(folder / "agreement.png", audited.agreement, audited.trust)
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
        "differences": _records(audited.differences),
        "cautions": audited.cautions,
        "disputed_classes": _records(audited.classes),
        "labels_beside_those_of_the_matches": _records(audited.sources),
    }
    write_json(folder / "audit.json", about)


def _records(table: pd.DataFrame) -> list[Mapping[str, Any]]:
    """Return the rows for JSON, in which unknown values are null."""
    rows: list[Mapping[str, Any]] = json.loads(table.to_json(orient="records"))
    return rows
