"""From PNGs to an index, as whole commands with their start: ours beside what a user would write.

atlas draw-atlas --out D --identities 100 --fields-per-identity 4 --size-px 512 \
  --novel-identities 0 --copies 0
python -m benchmarks.build_from_files --data D --out R

Cold: no store is there, so PNGs are decoded into one; the check of a precision, which is made once
for an embedder, is there. Warm: the store is there, and nothing
else. imagededup is measured where leaks/README.md has installed it, and left out elsewhere.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import tyro

from atlas.dataset.manifest import read_manifest
from benchmarks.leaks.composites import write_composites
from benchmarks.side_by_side import ROUNDS, Measure, compare, rate_of, save
from benchmarks.untrained import main as write_embedder

HERE = Path(__file__).resolve().parent
PRECISIONS = ("bfloat16", "int8")
RIVALS_PYTHON = HERE / "leaks" / ".venv" / "bin" / "python"


def main(
    data: Path,
    out: Path,
    embedder: Path | None = None,
    size_px: int = 256,
    rounds: int = ROUNDS,
    rivals_python: Path = RIVALS_PYTHON,
) -> None:
    """Measure images per second of each command.

    Args:
        data: An atlas of four channels, of which the images in train/ are used.
        out: The folder of the results, with the runs in its folder `work`.
        embedder: A trained embedder with a ResNet50; by default an untrained one, without 8 bits,
            see embedding_speed.py.
        size_px: The side to which images are resized.
        rounds: The number of rounds that count.
        rivals_python: The interpreter of an environment with imagededup.
    """
    work = out / "work"
    images = link_training_images(data, work / "atlas")
    data = work / "atlas"
    precisions = PRECISIONS if embedder else ("bfloat16",)
    if embedder is None:
        embedder = work / f"embedder{size_px}"
        write_embedder(data, embedder, size_px)
    ways: dict[str, Callable[[], float]] = {
        "a user's script": partial(user_rate, images, data, size_px, work / "vectors.npy"),
        **{
            f"build_index.py, {precision}, {name}": partial(
                rate, images, data, embedder, work / name / precision, precision
            )
            for precision in precisions
            for name, rate in (("cold", cold_rate), ("warm", warm_rate))
        },
        **rivals(images, data, work / "composites", rivals_python),
    }
    title = f"From PNGs to an index, {images} images, {size_px} px"
    made = compare(title, ways, unit="images/s", rounds=rounds)
    save(
        out,
        "build_from_files",
        [made],
        packages=["torch", "torchvision", "timm", "openvino", "pillow"],
    )


def link_training_images(data: Path, atlas: Path) -> int:
    """Link the images in train/ into an atlas of their own, and return how many there are."""
    shutil.rmtree(atlas, ignore_errors=True)
    atlas.mkdir(parents=True)
    for name in ("atlas.toml", "train.csv"):
        if (data / name).exists():
            shutil.copy2(data / name, atlas)
    (atlas / "train").symlink_to((data / "train").resolve())
    return len(read_manifest(atlas).rows)


def user_rate(images: int, data: Path, size_px: int, vectors: Path) -> float:
    script = str(HERE / "user_script.py")
    arguments = [str(data / "train"), str(data / "train.csv"), str(size_px), str(vectors)]
    return command_rate(images, [sys.executable, script, *arguments])


def cold_rate(images: int, data: Path, embedder: Path, run: Path, precision: str) -> float:
    """Return the rate from PNGs; the precision is checked once, by the first call."""
    command = build_command(data, embedder, run, precision)
    if not run.exists():
        command_rate(images, command)
    shutil.rmtree(run / "index")
    for folder in (run / "store").iterdir():
        if folder.name != "runtimes":
            shutil.rmtree(folder)
    return command_rate(images, command)


def warm_rate(images: int, data: Path, embedder: Path, run: Path, precision: str) -> float:
    """Return the rate with a filled store; the first call fills it and is not measured."""
    command = build_command(data, embedder, run, precision)
    if not run.exists():
        command_rate(images, command)
    shutil.rmtree(run / "store" / "embeddings")
    return command_rate(images, command)


def build_command(data: Path, embedder: Path, run: Path, precision: str) -> list[str]:
    script = str(HERE.parent / "scripts" / "build_index.py")
    return [sys.executable, script, "--data", str(data), "--embedder", str(embedder),
            "--out", str(run / "index"), "--precision", precision]  # fmt: skip


def rivals(images: int, data: Path, composites: Path, python: Path) -> dict[str, Measure]:
    """Return the rates of the rivals; making their images is not measured."""
    if not python.exists():
        print(f"imagededup is left out: no {python}; see benchmarks/leaks/README.md")
        return {}
    write_composites(data, composites)
    script, folder = str(HERE / "rival_script.py"), str(composites / "images")
    return {
        f"imagededup, {method}": partial(command_rate, images, [str(python), script, name, folder])
        for method, name in (("CNN (ResNet50)", "cnn"), ("PHash", "phash"))
    }


def command_rate(items: int, command: list[str], **variables: str) -> float:
    """Return the rate of the whole command, including its start, with these variables set.

    Threads are those that the libraries choose.
    """
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= variables

    def run() -> None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"error: {' '.join(command)} failed\n{done.stderr[-2000:]}")

    return rate_of(items, run)


if __name__ == "__main__":
    tyro.cli(main)
