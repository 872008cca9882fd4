"""Scores of a whole run as tables: CSV to continue with, Markdown to read."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from atlas.core.files import written_beside
from atlas.dataset.artifacts import load_leaks, load_matches, load_table, save_table
from atlas.dataset.metrics import Share
from benchmarks.leaks.claims import OURS, About, load_claims
from benchmarks.leaks.planting import WILD
from benchmarks.leaks.scoring import (
    LeakScore,
    Truth,
    found_by_edit,
    judged,
    labels_withheld,
    losses_by_edit,
    score,
    special_counts,
)

Row = dict[str, object]
HEADER = (
    "method", "found (95%)", "wrong source", "false claims (95%)", "average precision",
    "recall at precision .99", "best threshold: found, false", "seconds",
)  # fmt: skip
SPECIAL, NATURAL = "special", "natural"


def save_scores(run: Path) -> dict[str, pd.DataFrame]:
    """Scores every cell of a run; writes and gives scores, by_edit, special and
    losses; and table.md."""
    rows: dict[str, list[Row]] = {"scores": [], "by_edit": [], "special": [], "losses": []}
    for claims in sorted(run.glob("*/*/claims"), key=_in_order):
        for name, row in _score_cell(claims.parent):
            rows[name].append({"atlas": claims.parts[-3], "hardness": claims.parts[-2], **row})
    tables = {name: pd.DataFrame(some) for name, some in rows.items()}
    for name, table in tables.items():
        save_table(run / f"{name}.csv", table)
    with written_beside(run / "table.md") as beside:
        beside.write_text(markdown(**tables), encoding="utf-8")
    return tables


def markdown(
    scores: pd.DataFrame, by_edit: pd.DataFrame, special: pd.DataFrame, losses: pd.DataFrame
) -> str:
    """A block for each atlas and hardness: the methods, what they find by edit, special cases, and
    where ours loses copies."""
    lines: list[str] = []
    for (atlas, hardness), cell in scores.groupby(["atlas", "hardness"], sort=False):
        size = cell.iloc[0]
        lines += [f"## {atlas}, {hardness}: {size['copies']} copies, {size['others']} others", ""]
        lines += _table(HEADER, [_line(row) for row in cell.to_dict("records")])
        for table, what in ((by_edit, "edit"), (special, "case"), (losses, "edit")):
            here = [row for row in table.to_dict("records")
                    if (row["atlas"], row["hardness"]) == (atlas, hardness)]  # fmt: skip
            if here:
                lines += ["", *_pivoted(pd.DataFrame(here), what)]
        lines.append("")
    return "\n".join(lines)


def _in_order(claims: Path) -> tuple[str, int]:
    hardnesses = ("easy", "middle", "hard", WILD, NATURAL, SPECIAL)
    return claims.parts[-3], hardnesses.index(claims.parts[-2])


def _score_cell(cell: Path) -> Iterator[tuple[str, Row]]:
    """The table that each row is of, and the row."""
    truth = Truth(
        table=load_table(cell / "data" / "truth.csv"),
        planted=load_table(cell / "data" / "planted.csv"),
    )
    matches = load_matches(cell / "run" / "leaks" / "matches.csv").table
    for (edit, where), share in losses_by_edit(matches, truth).items():
        yield "losses", {"method": f"ours: {where}", "edit": edit} | _counted(share)
    for about, claims in load_claims(cell / "claims"):
        queries = judged(claims, truth)
        yield "scores", _score_row(score(queries, about.claims_from), about)
        for edit, share in found_by_edit(queries, about.claims_from).items():
            yield "by_edit", {"method": about.method, "edit": edit} | _counted(share)
        if cell.name == SPECIAL:
            counts = special_counts(claims, truth, about)
            if about.method == OURS:
                leaks = load_leaks(cell / "run" / "leaks" / "leaks.csv").table
                counts["contradictory labels withheld"] = labels_withheld(leaks, truth)
            for case, share in counts.items():
                yield "special", {"method": about.method, "case": case} | _counted(share)


def _score_row(found: LeakScore, about: About) -> Row:
    own, best = found.own, found.best
    return {
        "method": about.method,
        "claims_from": own.claims_from,
        "copies": own.found.of,
        "found": own.found.count,
        "found_low": own.found.interval[0],
        "found_high": own.found.interval[1],
        "wrong_source": own.wrong_source.count,
        "others": own.false.of,
        "false": own.false.count,
        "false_low": own.false.interval[0],
        "false_high": own.false.interval[1],
        "average_precision": found.average_precision,
        "recall_when_precise": found.recall_when_precise,
        "best_threshold": best.claims_from,
        "best_found": best.found.count,
        "best_false": best.false.count,
        "seconds": about.seconds,
        "note": about.note,
    }


def _counted(share: Share) -> Row:
    low, high = share.interval
    return {"count": share.count, "of": share.of, "low": low, "high": high}


def _line(row: Mapping[Hashable, Any]) -> list[str]:
    seconds = "" if pd.isna(row["seconds"]) else f"{row['seconds']:.0f}"
    return [
        f"{row['method']}",
        f"{row['found']} ({row['found_low']:.2f} to {row['found_high']:.2f})",
        f"{row['wrong_source']}",
        f"{row['false']} ({row['false_low']:.3f} to {row['false_high']:.3f})",
        f"{row['average_precision']:.3f}",
        f"{row['recall_when_precise']:.3f}",
        f"{row['best_found']}, {row['best_false']}",
        seconds,
    ]


def _pivoted(table: pd.DataFrame, what: str) -> list[str]:
    """Counts by method and by `what`, as `count of n`."""
    said = table.assign(cell=table["count"].astype(str) + " of " + table["of"].astype(str))
    wide = said.pivot(index="method", columns=what, values="cell").fillna("")
    wide = wide.reindex(table["method"].unique())
    lines = [list(map(str, line)) for line in wide.reset_index().to_numpy()]
    return _table(["method", *map(str, wide.columns)], lines)


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    rows = [header, ["---"] * len(header), *lines]
    return ["| " + " | ".join(row) + " |" for row in rows]
