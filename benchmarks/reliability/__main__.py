"""The product attacked as a database would be.

python -m benchmarks.reliability --out R
python -m benchmarks.reliability --out R --only kills,damage --small

Each part writes a line of JSON for each trial to R/PART.jsonl as it goes, and R/reliability.md
holds the table of all parts. A run that was stopped is resumed by the same command: trials that
have an outcome are not repeated. Seeds are fixed. `--small` makes a few trials of each kind, which
shows that the attacks work. Attacks with file systems of their own need root and Linux; the others
need a C compiler. Without them, the parts say what they could not do.
"""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.reliability import shim
from benchmarks.reliability.base import make_base
from benchmarks.reliability.lab import Lab
from benchmarks.reliability.ledger import HELD, markdown
from benchmarks.reliability.parts import PARTS, WITHOUT_BASE
from benchmarks.side_by_side import about_machine


def main(
    out: Annotated[Path, tyro.conf.arg(help="Folder of the base, the trials and the tables.")],
    only: Annotated[str, tyro.conf.arg(help="Parts to run, separated by commas.")] = ",".join(
        PARTS
    ),
    small: bool = False,
    jobs: int = os.cpu_count() or 1,
) -> None:
    """Run the parts, and write the table reliability.md to `out`.

    Args:
        small: Make a few trials of each kind.
        jobs: Number of trials at the same time.
    """
    names = only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        sys.exit(f"error: there is no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    lab = Lab(folder=out.resolve(), small=small, jobs=jobs)
    lab.folder.mkdir(parents=True, exist_ok=True)
    shim.load(lab.folder)  # starts this process again
    lab.take_core()
    if set(names) - WITHOUT_BASE:
        make_base(lab)
    for name in names:
        began = time.monotonic()
        PARTS[name].run(lab)
        outcomes = lab.ledger(name).outcomes()
        held = sum(outcome.verdict == HELD for outcome in outcomes)
        took = time.monotonic() - began
        print(f"{name}: {held} of {len(outcomes)} held, {took:.0f} s", flush=True)
        _write_table(lab)


def _write_table(lab: Lab) -> None:
    found = {
        name: (part.description, outcomes)
        for name, part in PARTS.items()
        if (outcomes := lab.ledger(name).outcomes())
    }
    text = markdown(found, about=about_machine(["torch", "openvino", "h5py"]))
    (lab.folder / "reliability.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
