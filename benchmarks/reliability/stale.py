"""Stale inputs: what changed after it was read must be noticed, whatever size and time say.

In each scenario a run is made, something changes, and commands run again. The last result must be
that of a run from the beginning on the changed data, or be refused in one line.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reliability.commands import CALIBRATION
from benchmarks.reliability.lab import Lab
from benchmarks.reliability.ledger import HELD, Outcome, one_line
from benchmarks.reliability.world import copy_tree, difference, remove, tree_of

FIXED_TIME = (315619200, 315619200)  # 1980, as archives with fixed times have
SMALL_STEP = 3
INDEX = "build-index --data data --embedder frozen --out run/index"
LEAKS = (
    "find-leaks --data data --index run/index --out run/leaks --accept-unproven-copies "
    f"{CALIBRATION}"
)
CLASSIFIER = "train-classifier smoke --epochs 1 --data data --out run/classifier"
SUBMISSION = (
    "make-submission --data data --leaks run/leaks --classifier run/classifier --out run/submission"
)
ENSEMBLE = "ensemble --data data --members run/classifier --out run/ensemble"
AUDIT = "audit-labels --data data --index run/index --out run/audit"
EMBEDDER = "train-embedder smoke --epochs 1 --data data --out run/embedder"
OWN_INDEX = "build-index --data data --embedder run/embedder --out run/index"
LOOKUP = "lookup {asked} --index run/index --montage run/lookup/found.png --json"
MOVED = "find-leaks --data data --index moved/index --out moved/leaks --accept-unproven-copies "


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A change between two runs of commands.

    Attributes:
        before: The commands that run before the change.
        change: What changes the world.
        after: The commands that run after it.
        result: The file or folder that the last of them writes.
        fresh: The commands that make this result from the beginning; by default those after.
        tiff: Whether the images are TIFF files of equal size and time.
    """

    before: Sequence[str]
    change: Callable[[Path], None]
    after: Sequence[str]
    result: str
    fresh: Sequence[str] = ()
    tiff: bool = False


def run(lab: Lab) -> None:
    """Run every scenario."""
    scenarios = list(SCENARIOS.items())
    lab.each("stale", scenarios[:: SMALL_STEP if lab.small else 1], _attack)


def _attack(lab: Lab, trial: str, scenario: Scenario) -> Iterator[Outcome]:
    _make(lab, scenario)
    for command in scenario.before:
        if status := _run(lab, command)[0]:
            raise RuntimeError(f"{command} ended with {status}")
    scenario.change(lab.world)
    refused = ""
    for command in scenario.after:
        status, said, fault = _run(lab, command)
        if fault:
            yield Outcome(trial=trial, verdict=fault, detail=said)
            return
        if status:
            refused = said
            break
    found = tree_of(lab.world / scenario.result)
    if refused:
        verdict = HELD if "error:" in refused else "no error line"
        yield Outcome(trial=trial, verdict=verdict, detail=f"refused: {refused}")
        return
    for name in ("run", "moved"):
        remove(lab.world / name)
    copy_tree(lab.base / "run/store/runtimes", lab.world / "run/store/runtimes")
    for command in scenario.fresh or scenario.after:
        status, said, _ = _run(lab, command)
        if status:
            yield Outcome(trial=trial, verdict="refused only from the beginning", detail=said)
            return
    place = scenario.result.replace("moved", "run")
    differs = difference(found, tree_of(lab.world / place))
    yield Outcome(
        trial=trial, verdict="a stale result" if differs else HELD,
        detail=differs or "as from the beginning",
    )  # fmt: skip


def _make(lab: Lab, scenario: Scenario) -> None:
    """Make a world with its own images and no results but the exported networks."""
    remove(lab.world)
    remove(lab.scratch)
    lab.scratch.mkdir(parents=True)
    shutil.copytree(lab.folders["data"], lab.world / "data")
    copy_tree(lab.base / "run/store/runtimes", lab.world / "run/store/runtimes")
    if scenario.tiff:
        for file in sorted((lab.world / "data").rglob("*.png")):
            Image.open(file).convert("L").save(file.with_suffix(".tif"), compression=None)
            file.unlink()
            os.utime(file.with_suffix(".tif"), FIXED_TIME)


def _run(lab: Lab, command: str) -> tuple[int, str, str]:
    words = [word.format(**lab.places) for word in command.split()]
    ended = lab.run_words(words)
    return ended.status, one_line(ended.err), ended.fault


def _files(world: Path, split: str) -> list[list[Path]]:
    """Return the files of each image of a split."""
    groups: dict[str, list[Path]] = {}
    for file in sorted((world / "data" / split).iterdir()):
        groups.setdefault(file.name.rsplit("_", 1)[0], []).append(file)
    return list(groups.values())


def _exchange(one: Path, other: Path) -> None:
    beside = one.with_suffix(".exchanged")
    one.rename(beside)
    other.rename(one)
    beside.rename(other)


def _swap_two(world: Path) -> None:
    """Exchange two labelled images, which keeps sizes and times."""
    first, *_, last = _files(world, "train")
    for one, other in zip(first, last, strict=True):
        _exchange(one, other)


def _overwrite_test(world: Path) -> None:
    """Overwrite a test image that is a copy by noise, in place, and set its time back."""
    for files in _files(world, "test"):
        for file in files:
            noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
            with file.open("r+b") as opened:
                opened.seek(-noise.size, os.SEEK_END)
                opened.write(noise.tobytes())
            os.utime(file, FIXED_TIME)


def _second_release(world: Path) -> None:
    """Unpack a release in which every image has the name of another, with the same times."""
    images = _files(world, "train")
    contents = [[file.read_bytes() for file in files] for files in images]
    for files, new in zip(images, contents[1:] + contents[:1], strict=True):
        for file, content in zip(files, new, strict=True):
            file.unlink()
            file.write_bytes(content)
            os.utime(file, FIXED_TIME)


def _change_labelled(world: Path) -> None:
    """Replace a labelled image by another, as a user does who corrects a mistake."""
    first, *_, last = _files(world, "train")
    for file, source in zip(first, last, strict=True):
        shutil.copy(source, file)


def _replace_test(world: Path) -> None:
    """Replace one test image by another, and keep its times."""
    first, *_, last = _files(world, "test")
    for file, source in zip(first, last, strict=True):
        times = file.stat().st_atime, file.stat().st_mtime
        shutil.copyfile(source, file)
        os.utime(file, times)


def _relabel(world: Path) -> None:
    """Give every labelled image the label 27."""
    table = world / "data" / "train.csv"
    head, *rows = table.read_text().splitlines()
    target = head.split(",").index("Target")
    cells = [row.split(",") for row in rows]
    for row in cells:
        row[target] = "27"
    table.write_text("\n".join([head, *map(",".join, cells)]) + "\n")


def _reorder(world: Path) -> None:
    """Turn the rows of the sample submission round."""
    table = world / "data" / "sample_submission.csv"
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([head, *reversed(rows)]) + "\n")


def _edit_toml(world: Path) -> None:
    """Say that counts of 128 are white, which changes every pixel."""
    path = world / "data" / "atlas.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("max_value")]
    at = next((n for n, line in enumerate(lines) if line.startswith("[")), len(lines))
    path.write_text("\n".join([*lines[:at], "max_value = 128", *lines[at:]]) + "\n")


def _forget(name: str) -> Callable[[Path], None]:
    def forget(world: Path) -> None:
        remove(world / "run" / name)

    return forget


def _move(world: Path) -> None:
    (world / "run").rename(world / "moved")


def _nothing(world: Path) -> None:
    """Change nothing; the commands do."""


SCENARIOS = {
    "swapped TIFFs of one size and time": Scenario(
        before=(INDEX, LEAKS), change=_swap_two, after=(INDEX, LEAKS), result="run/leaks", tiff=True
    ),
    "test images overwritten, time kept": Scenario(
        before=(INDEX, LEAKS), change=_overwrite_test, after=(LEAKS,), result="run/leaks",
        fresh=(INDEX, LEAKS), tiff=True,
    ),
    "second release with fixed times": Scenario(
        before=(INDEX, LEAKS), change=_second_release, after=(INDEX, LEAKS), result="run/leaks",
        tiff=True,
    ),
    "labelled image changed after indexing": Scenario(
        before=(INDEX,), change=_change_labelled, after=(LEAKS,), result="run/leaks",
        fresh=(INDEX, LEAKS),
    ),
    "relabelled after the leaks": Scenario(
        before=(INDEX, LEAKS, CLASSIFIER), change=_relabel, after=(SUBMISSION,),
        result="run/submission", fresh=(INDEX, LEAKS, CLASSIFIER, SUBMISSION),
    ),
    "test image replaced after leaks and predictions": Scenario(
        before=(INDEX, LEAKS, CLASSIFIER), change=_replace_test, after=(SUBMISSION,),
        result="run/submission", fresh=(INDEX, LEAKS, CLASSIFIER, SUBMISSION),
    ),
    "test image replaced after the predictions": Scenario(
        before=(INDEX, CLASSIFIER), change=_replace_test, after=(LEAKS, SUBMISSION),
        result="run/submission", fresh=(INDEX, LEAKS, CLASSIFIER, SUBMISSION),
    ),
    "test image replaced before an ensemble": Scenario(
        before=(CLASSIFIER,), change=_replace_test, after=(ENSEMBLE,), result="run/ensemble",
        fresh=(CLASSIFIER, ENSEMBLE),
    ),
    "test image replaced, run updated": Scenario(
        before=(INDEX, LEAKS, CLASSIFIER, SUBMISSION), change=_replace_test,
        after=("update --data data --run run",), result="run/submission",
        fresh=(INDEX, LEAKS, CLASSIFIER, SUBMISSION),
    ),
    "labelled image changed after the leaks": Scenario(
        before=(INDEX, LEAKS, CLASSIFIER), change=_change_labelled, after=(SUBMISSION,),
        result="run/submission", fresh=(INDEX, LEAKS, CLASSIFIER, SUBMISSION),
    ),
    "labelled image changed before an audit of labels": Scenario(
        before=(INDEX,), change=_change_labelled, after=(AUDIT,), result="run/audit",
        fresh=(INDEX, AUDIT),
    ),
    "retrained classifier under a submission": Scenario(
        before=(INDEX, LEAKS, CLASSIFIER, SUBMISSION), change=_forget("classifier"),
        after=(f"{CLASSIFIER} --seed 1", "update --data data --run run"), result="run/submission",
        fresh=(INDEX, LEAKS, f"{CLASSIFIER} --seed 1", SUBMISSION),
    ),
    "another embedder's index under leaks": Scenario(
        before=(INDEX, LEAKS, CLASSIFIER, SUBMISSION, EMBEDDER, OWN_INDEX), change=_nothing,
        after=("update --data data --run run",), result="run/submission",
        fresh=(EMBEDDER, OWN_INDEX, LEAKS, CLASSIFIER, SUBMISSION),
    ),
    "edited atlas.toml": Scenario(
        before=(INDEX, LEAKS), change=_edit_toml, after=(LEAKS,), result="run/leaks",
        fresh=(INDEX, LEAKS),
    ),
    "edited atlas.toml, lookup": Scenario(
        before=(INDEX,), change=_edit_toml, after=(LOOKUP,), result="run/lookup",
        fresh=(INDEX, LOOKUP),
    ),
    "embedder trained again": Scenario(
        before=(EMBEDDER, OWN_INDEX), change=_forget("embedder"),
        after=(f"{EMBEDDER} --seed 1", OWN_INDEX), result="run/index/embeddings.h5",
    ),
    "reordered sample submission": Scenario(
        before=(INDEX, LEAKS, CLASSIFIER, SUBMISSION), change=_reorder, after=(SUBMISSION,),
        result="run/submission", fresh=(INDEX, LEAKS, CLASSIFIER, SUBMISSION),
    ),
    "run folder moved": Scenario(
        before=(INDEX,), change=_move, after=(MOVED + CALIBRATION,), result="moved/leaks",
        fresh=(INDEX, LEAKS),
    ),
}  # fmt: skip
