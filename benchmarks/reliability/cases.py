"""Every reported case: its commands are run, and the table holds what they say now.

Options that have other names today are given by these.

The cases lie beside the project and are not part of it; where they are not there, the part says so.
What is right is stated in each `case.md`, so the table shows the statuses and the last lines for
people to compare. A traceback, a crash or a hang is a fault in any case.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.reliability.lab import Lab
from benchmarks.reliability.ledger import HELD, Outcome, one_line
from benchmarks.reliability.warm import TRACEBACK
from benchmarks.reliability.world import remove

ROOT = Path(__file__).parents[2]
CASES = ROOT.parent / "shared" / "cases"
LIMIT_S = 600.0
RENAMED = {"--accept-unproven": "--accept-unproven-copies", "--runs": "--run"}
SHOWN = 300
NOISE = re.compile(r"[│┃┏┓┗┛┡┩┌┐└┘├┤┬┴┼━─╇╈╉╊]+")
SIGNALS = ("Segmentation fault", "Killed", "Aborted", "rc 139", "rc 134")


def run(lab: Lab) -> None:
    """Run every case, and write cases.md with what each says now."""
    folders = sorted(path.parent for path in CASES.glob("*/run.sh"))
    if not folders:
        lab.ledger("cases").add(
            Outcome(trial="cases", verdict="not tried", detail="there are no cases here")
        )
        return
    if lab.small:
        folders = folders[:3]
    lab.each("cases", [(folder.name, folder) for folder in folders], _attack, worlds=False)
    lines = ["| case | now |", "|---|---|"]
    outcomes = sorted(lab.ledger("cases").outcomes(), key=lambda outcome: outcome.trial)
    lines += [f"| {o.trial} | {o.detail.replace('|', '/')} |" for o in outcomes]
    (lab.folder / "cases.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _attack(lab: Lab, trial: str, folder: Path) -> Iterator[Outcome]:
    """Run a case on a copy of its folder, as some cases change times of files."""
    own = lab.folder / "cases" / trial
    remove(own)
    own.parent.mkdir(exist_ok=True)
    subprocess.run(["cp", "-r", "--preserve=mode,timestamps", str(folder), str(own)], check=True)
    subprocess.run(["chmod", "-R", "u+w", str(own)], check=True)
    script = own / "run.sh"
    text = script.read_text(encoding="utf-8")
    for old, new in RENAMED.items():
        text = re.sub(rf"{old}(?![\w-])", new, text)
    script.write_text(text, encoding="utf-8")
    environment = {
        **os.environ, **lab.environment, "P": sys.executable, "S": str(ROOT / "scripts"),
        "OUT": str(own / "out"), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    lab.scratch.mkdir(parents=True, exist_ok=True)
    try:
        ended = subprocess.run(
            ["bash", "run.sh"], cwd=own, env=environment, timeout=LIMIT_S, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        yield Outcome(trial=trial, verdict="hang", detail=f"more than {LIMIT_S:.0f} s")
        return
    (lab.folder / "cases" / f"{trial}.txt").write_text(ended.stdout, encoding="utf-8")
    verdict = HELD
    if TRACEBACK in ended.stdout:
        verdict = "traceback"
    elif any(signal in ended.stdout for signal in SIGNALS):
        verdict = "crash"
    yield Outcome(trial=trial, verdict=verdict, detail=_said(ended.stdout))


def _said(output: str) -> str:
    """Return the errors and warnings of a case, or its last lines where there are none."""
    lines = [NOISE.sub(" ", line).strip() for line in output.splitlines()]
    lines = [line for line in lines if line]
    complaints = [line for line in lines if re.match(r"(error|warning):|---", line)]
    return one_line("; ".join(dict.fromkeys(complaints or lines[-4:])), length=SHOWN)
