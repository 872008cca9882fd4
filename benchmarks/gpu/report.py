"""What the parts found, as JSON for programs and as Markdown for people."""

from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from atlas.core.files import write_json, written_beside
from benchmarks.gpu.part import Finding

REPORT_JSON, REPORT_MD = "report.json", "report.md"
TINY_NOTE = (
    "This run took the sizes of `--tiny`, which show that the check works. "
    "Its speeds say nothing about a GPU."
)


def save_report(out: Path, about: str, findings: Collection[Finding], *, tiny: bool) -> None:
    """Write report.json and report.md to `out`, each whole or not at all."""
    parts = {finding.name: asdict(finding) for finding in findings}
    write_json(out / REPORT_JSON, {"machine": about, "tiny": tiny, "parts": parts})
    with written_beside(out / REPORT_MD) as beside:
        beside.write_text(markdown(about, findings, tiny=tiny), encoding="utf-8")


def markdown(about: str, findings: Iterable[Finding], *, tiny: bool) -> str:
    """Return the report: a table of all parts, then the checks and figures of each."""
    findings = list(findings)
    rows = [
        (
            finding.name, finding.state, f"{finding.seconds:.1f}", f"{finding.limit_s:.0f}",
            f"{finding.processor_s:.1f}",
        )
        for finding in findings
    ]  # fmt: skip
    parts = [
        "# Check on a GPU",
        about,
        *([TINY_NOTE] if tiny else []),
        _table(("part", "state", "seconds", "limit", "seconds of one core"), rows),
        *(_section(finding) for finding in findings if finding.state != "waiting"),
    ]
    return "\n\n".join(parts) + "\n"


def summary(findings: Iterable[Finding], out: Path) -> str:
    """Return the answer of a run in a few lines."""
    lines = [finding.line for finding in findings]
    return "\n".join([*lines, f"report: {out / REPORT_MD} and {out / REPORT_JSON}"])


def _section(finding: Finding) -> str:
    parts = [f"## {finding.name}"]
    if finding.error:
        parts.append(f"{finding.state}: {finding.error}")
    if finding.checks:
        rows = [
            (name, "holds" if check["passed"] else "DOES NOT HOLD", check["detail"])
            for name, check in finding.checks.items()
        ]
        parts.append(_table(("check", "", "detail"), rows))
    for group, figures in finding.figures.items():
        values = [(name, shown(value)) for name, value in figures.items()]
        parts.append(_table((group, ""), values))
    return "\n\n".join(parts)


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")


def shown(value: Any) -> str:
    """Return a figure with three digits that count; other values as they are."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
