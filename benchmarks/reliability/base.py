"""The base: drawn data and every result that the attacks copy, made once by the commands."""

import shutil
from pathlib import Path

from benchmarks.reliability import warm
from benchmarks.reliability.commands import BASE
from benchmarks.reliability.lab import Lab
from benchmarks.reliability.world import copy_tree, fresh_copy, remove

DRAWING = (
    "--identities 10 --fields-per-identity 4 --novel-identities 3 --copies 6 "
    "--test-fields-per-identity 1 --size-px 64"
)
LEFT_OUT_TRAIN, LEFT_OUT_TEST = 4, 3


def make_base(lab: Lab) -> None:
    """Draw the data and make every result of the base, then import all that this needed.

    A base that is complete is kept.
    """
    lab.folder.mkdir(parents=True, exist_ok=True)
    modules = lab.folder / "modules.txt"
    if not (lab.base / "complete").exists():
        _draw(lab, modules)
        fresh_copy(lab.base, lab.world, ())
        for command in BASE:
            if command.out.endswith("leaks"):  # imports what later commands need, too
                warm.preload(_read_modules(modules))
            ended = lab.run(command, modules=modules, limit_s=600)
            print(f"base: {command.name}: {ended.seconds:.1f} s", flush=True)
            if ended.status:
                raise RuntimeError(f"{command.name} fails: {ended.err}")
        copy_tree(lab.world, lab.base)
        (lab.base / "complete").touch()
    warm.preload(_read_modules(modules))


def _draw(lab: Lab, modules: Path) -> None:
    for place in (lab.base, lab.world, *lab.folders.values()):
        remove(place)
    lab.scratch.mkdir(parents=True, exist_ok=True)
    lab.world.mkdir(parents=True)
    words = ["draw-atlas", "--out", str(lab.folders["data"]), *DRAWING.split()]
    ended = lab.run_words(words, modules=modules)
    if ended.status:
        raise RuntimeError(f"draw-atlas fails: {ended.err}")
    data, less, pictures = (lab.folders[name] for name in ("data", "less", "pictures"))
    shutil.copytree(data, less)
    for name, count in (("train.csv", LEFT_OUT_TRAIN), ("sample_submission.csv", LEFT_OUT_TEST)):
        lines = (data / name).read_text().splitlines(keepends=True)
        (less / name).write_text("".join(lines[:-count]))
    for split, kind in (("train", "known"), ("test", "new")):
        (pictures / kind).mkdir(parents=True)
        for file in sorted((data / split).glob("*_green.png")):
            shutil.copy2(file, pictures / kind / file.name)


def _read_modules(modules: Path) -> list[str]:
    return list(dict.fromkeys(modules.read_text().split())) if modules.exists() else []
