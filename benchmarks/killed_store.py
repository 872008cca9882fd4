"""A store that is killed again and again while 100,000 vectors are written to it.

    python -m benchmarks.killed_store --out R

First, Milvus Lite runs in the process that writes. The process is killed with SIGKILL, and the same
command is started again, until it ends by itself. Then Milvus Lite is a server. It is killed and
started again, while one client goes on. Afterwards the collection must hold every id once, and its
answers must be those of `FlatIndex`.
"""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from atlas.dataset.artifacts import EmbeddingSet
from benchmarks.search_speed import K, named
from benchmarks.side_by_side import about_machine
from benchmarks.vectors import clustered
from index.search.milvus_index import MilvusIndex
from index.search.vector_index import build_index
from index.store_address import StoreAddress, parse_address

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the vectors that are written when a kill comes
QUERIES = 1000
LOOKS_EVERY_S = 0.05
RESTARTS_AFTER_S = 1.0


def main(
    out: Path,
    count: int = 100_000,
    dimension: int = 256,
    store: str | None = None,
) -> None:
    """Print what was kept after each kill, and whether the answers are right.

    Args:
        out: a folder, which is replaced.
        count: of the vectors.
        dimension: of the vectors.
        store: not to be given by hand.
    """
    if store is not None:
        write(parse_address(store), named("image", np.load(out / "vectors.npy")))
        return
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    vectors_ND, queries_ND = clustered(count, QUERIES, dimension)
    np.save(out / "vectors.npy", vectors_ND)
    print(about_machine(["pymilvus", "milvus-lite"]), flush=True)
    known, queries = named("image", vectors_ND), named("query", queries_ND)
    folder = parse_address(str(out / "vectors.db"))
    kill_writer(out, folder, known)
    judge("Milvus Lite in the process that writes", folder, known, queries)
    kill_server(out, known, queries)


def write(store: StoreAddress, known: EmbeddingSet) -> None:
    """Fill the store, as `atlas build-index` does."""
    index = MilvusIndex.make(
        store, dimension=known.vectors_ND.shape[1], embedder=str(known.provenance["embedder"])
    )
    print(f"found {len(index):,} vectors of an earlier try", flush=True)
    index.synchronise(known, splits={}, identities={})


def kill_writer(out: Path, store: StoreAddress, known: EmbeddingSet) -> None:
    """Kill the process that writes at each share, then let it end."""
    assert store.folder is not None
    for share in SHARES:
        writer = _writer(out, store)
        if _written(store.folder, known, share, writer):
            writer.kill()
            print(f"killed at {share:.0%}", flush=True)
        writer.wait()
    if _writer(out, store).wait():
        sys.exit("the last try failed")


def kill_server(out: Path, known: EmbeddingSet, queries: EmbeddingSet) -> None:
    """Kill the server at each share while one client writes, and judge what it holds."""
    folder, port = out / "server", _free_port()
    store = parse_address(f"milvus://127.0.0.1:{port}/vectors")
    server = _server(folder, port)
    try:
        writer = _writer(out, store)
        for share in SHARES:
            if _written(folder, known, share, writer):
                server.kill()
                server.wait()
                print(f"server killed at {share:.0%}", flush=True)
                time.sleep(RESTARTS_AFTER_S)
                server = _server(folder, port)
        if writer.wait():
            sys.exit("the client did not go on")
        judge("Milvus Lite as a server", store, known, queries)
    finally:
        server.kill()
        server.wait()


def judge(what: str, store: StoreAddress, known: EmbeddingSet, queries: EmbeddingSet) -> None:
    """Print how many vectors there are, and whether the answers are those of `FlatIndex`."""
    index = MilvusIndex.open(store)
    found, expected = index.search(queries, K), build_index(known).search(queries, K)
    held = set(index.ids())
    same = np.array_equal(found.reference_ids_NK, expected.reference_ids_NK) and np.array_equal(
        found.similarity_NK, expected.similarity_NK
    )
    lost = len(known.ids) - len(held)
    print(
        f"{what}: {len(index):,} rows, {len(index) - len(held)} twice, {lost} lost; the answers to "
        f"{len(queries.ids):,} queries are {'the same' if same else 'OTHERS'}",
        flush=True,
    )


def _written(
    folder: Path, known: EmbeddingSet, share: float, writer: "subprocess.Popen[bytes]"
) -> bool:
    """Wait until this share is in the files of the store; return False if the writer ended."""
    wanted = share * known.vectors_ND.nbytes
    while writer.poll() is None:
        if _bytes(folder) >= wanted:
            return True
        time.sleep(LOOKS_EVERY_S)
    return False


def _bytes(folder: Path) -> int:
    total = 0
    for file in folder.glob("collections/**/*.*"):
        if file.suffix in {".arrow", ".parquet"}:
            try:
                total += file.stat().st_size
            except FileNotFoundError:  # merged with others just now
                continue
    return total


def _writer(out: Path, store: StoreAddress) -> "subprocess.Popen[bytes]":
    words = ["-m", "benchmarks.killed_store", "--out", str(out), "--store", store.text]
    return _started(words)


def _server(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    words = ["-m", "milvus_lite", "server", "--host", "127.0.0.1", "--port", str(port)]
    return _started([*words, "--data-dir", str(folder)], stdout=subprocess.DEVNULL)


def _started(words: Sequence[str], **streams: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, *words], **streams)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    tyro.cli(main)
