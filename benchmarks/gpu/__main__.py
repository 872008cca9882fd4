"""A prepared check of what this project does on a GPU, within minutes.

python -m benchmarks.gpu --out R
python -m benchmarks.gpu --out R --tiny

It draws its own data, runs each part in a process of its own and stops that process at its limit,
and writes R/report.json and R/report.md after every part, so that a run which is cut off still
reports what it found. `--tiny` runs all of it in about a minute on two cores without a GPU, to show
that it works; the speeds of such a run say nothing about a GPU.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from benchmarks.gpu.device import Device
from benchmarks.gpu.part import Finding, Part, run_part
from benchmarks.gpu.report import save_report, summary

PartName = Literal["correctness", "drawing", "training", "search", "indexing"]
# In the order in which they run: whether results are right comes first. The shares are of the time,
# from what each part is expected to need on a GPU of 2023 with 16 cores beside it.
PARTS: dict[PartName, Part] = {
    "correctness": Part(name="correctness", run="benchmarks.gpu.correctness:run", share=0.40),
    "drawing": Part(name="drawing", run="benchmarks.gpu.drawing:run", share=0.05),
    "training": Part(name="training", run="benchmarks.gpu.training:run", share=0.30),
    "search": Part(name="search", run="benchmarks.gpu.search:run", share=0.07),
    "indexing": Part(name="indexing", run="benchmarks.gpu.indexing:run", share=0.18),
}
RESERVE_SECONDS = 15  # for loading torch, and for writing the report


def main(
    out: Annotated[Path, tyro.conf.arg(help="Folder for the report and all that is made.")],
    seconds: float = 480,
    tiny: bool = False,
    parts: tuple[PartName, ...] = tuple(PARTS),
) -> None:
    """Run the parts and write report.json and report.md to `out`.

    Args:
        seconds: Limit of the whole run; each part gets its share of what is left of it.
        tiny: Take sizes that two cores without a GPU finish in about a minute.
        parts: Parts to run, in the order given.
    """
    if not (tiny or torch.cuda.is_available()):
        sys.exit("error: torch finds no GPU here; --tiny runs the check at a small size on the CPU")
    chosen = [PARTS[name] for name in parts]
    findings = run_all(chosen, out, seconds=seconds - RESERVE_SECONDS, tiny=tiny)
    print(summary(findings.values(), out))
    if any(finding.state != "passed" for finding in findings.values()):
        sys.exit(1)


def run_all(
    parts: Sequence[Part], out: Path, *, seconds: float, tiny: bool
) -> Mapping[str, Finding]:
    """Run one part after the other, and return what each found.

    The limit of a part is its share of the time that is left, so that what one part does not need
    is there for the others, and the whole run never exceeds `seconds`.
    """
    ends = time.monotonic() + seconds
    about = Device.of_this_machine().description
    findings = {part.name: Finding(name=part.name) for part in parts}
    for number, part in enumerate(parts):
        share = part.share / sum(later.share for later in parts[number:])
        limit_s = max(1.0, share * (ends - time.monotonic()))
        findings[part.name] = Finding(name=part.name, state="running", limit_s=limit_s)
        save_report(out, about, findings.values(), tiny=tiny)
        print(f"{part.name}: at most {limit_s:.0f} s", flush=True)
        findings[part.name] = run_part(part, out, limit_s=limit_s, tiny=tiny)
        save_report(out, about, findings.values(), tiny=tiny)
        print(findings[part.name].line, flush=True)
    return findings


if __name__ == "__main__":
    tyro.cli(main)
