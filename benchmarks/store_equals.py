"""The main job by exact search in one process and by a store: are the results equal in each byte?

    python -m benchmarks.store_equals --data DATA --out R

Index, leaks and submission are made twice: in R/local by exact search in one process, and in
R/store by Milvus Lite or the server of --store. Both use one classifier. Embeddings and
registrations, which do not depend on the search, are taken over; neighbours are not.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import tyro

from atlas.core.contents import CONTENTS_FILE

RESULTS = ("leaks", "submission")


def main(
    data: Path,
    out: Path,
    embedder: str = "frozen",
    classifier: Path | None = None,
    store: str | None = None,
) -> None:
    """Print which files differ.

    Args:
        data: an atlas folder with test images.
        out: a folder; what is in its folders local and store is replaced.
        embedder: as for build-index.
        classifier: a run folder of a classifier; by default one is trained for one epoch.
        store: milvus://HOST:PORT/COLLECTION, or R/store/vectors.db.
    """
    if classifier is None:
        classifier = out / "classifier"
        if not (classifier / "classifier.json").exists():
            atlas("train-classifier", "smoke", "--epochs", 1, data=data, out=classifier)
    for name in ("local", "store"):
        shutil.rmtree(out / name, ignore_errors=True)
    make(data, out / "local", embedder, classifier, [])
    kept = shutil.ignore_patterns("neighbours")
    shutil.copytree(out / "local" / "store", out / "store" / "store", ignore=kept)
    address = store or str(out / "store" / "vectors.db")
    make(data, out / "store", embedder, classifier, ["--store", address])
    compare(out / "local", out / "store")


def make(data: Path, run: Path, embedder: str, classifier: Path, options: list[str]) -> None:
    atlas("build-index", "--embedder", embedder, *options, data=data, out=run / "index")
    unproven = ("--accept-unproven-copies", "--accept-unproven-siblings")  # so that labels transfer
    atlas("find-leaks", "--index", run / "index", *unproven, data=data, out=run / "leaks")
    made_from = ("--leaks", run / "leaks", "--classifier", classifier)
    atlas("make-submission", *made_from, data=data, out=run / "submission")


def atlas(command: str, *words: object, data: Path, out: Path) -> None:
    whole = ["-m", "atlas.cli", command, *words, "--data", data, "--out", out]
    subprocess.run([sys.executable, *map(str, whole)], check=True, stdout=subprocess.DEVNULL)


def compare(one: Path, other: Path) -> None:
    names = sorted(
        str(path.relative_to(one))
        for folder in RESULTS
        for path in (one / folder).rglob("*")
        if path.is_file() and path.name != CONTENTS_FILE
    )
    differ = [name for name in names if not _equal(one / name, other / name)]
    said = "all equal" if not differ else f"{len(differ)} differ: {', '.join(differ)}"
    print(f"{len(names)} files compared, {said}")


def _equal(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


if __name__ == "__main__":
    tyro.cli(main)
