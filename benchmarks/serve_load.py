"""The load that `atlas serve` bears on this machine, beside the network alone.

    atlas draw-atlas --out ATLAS --identities 5000 --size-px 128
    atlas build-index --data ATLAS --embedder frozen --out RUN/index
    python -m benchmarks.serve_load --run RUN

Clients send test images of the atlas without a pause, first without and then with registration.
Before and after each of the two, the network alone embeds the same images, so that other work on
the machine shows.
"""

import http.client
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

from atlas.dataset.manifest import ImageRow, read_manifest
from atlas.workflows.embed.open_index import read_image
from benchmarks.serving import Server, form, sent, served_run
from index.index_folder import EMBEDDER_FOLDER, load_index
from retrieval.embedding import embed_images, load_for_queries

IMAGES = 256  # different ones
MEMORY_EVERY_S = 5.0


@dataclass
class Load:
    """What clients measure."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    memory_mib: list[float] = field(default_factory=list)
    lasted_s: float = 0.0

    @property
    def rate(self) -> float:
        """The number of answers per second."""
        return len(self.seconds) / self.lasted_s

    def in_words(self) -> str:
        """Return the figures as a sentence."""
        p50, p95, p99 = 1000 * np.percentile(self.seconds, (50, 95, 99))
        first, most, last = self.memory_mib[0], max(self.memory_mib), self.memory_mib[-1]
        return (
            f"{self.rate:.1f} requests/s; p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms; "
            f"{self.refused} refused; memory {first:.0f} MiB at the start, {most:.0f} MiB at most, "
            f"{last:.0f} MiB at the end"
        )


def forms_of(rows: tuple[ImageRow, ...], channels: tuple[str, ...], **fields: str) -> list:
    """Return a form for each image."""
    return [
        form(
            fields,
            [(c, f.name, f.read_bytes()) for c, f in zip(channels, row.files, strict=True)],
        )
        for row in rows
    ]


def load(server: Server, forms: list, *, clients: int, seconds: float) -> Load:
    """Send forms from several clients at once for some time."""
    found, until = Load(), time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(*server.place, timeout=60)
        turn = number
        while time.perf_counter() < until:
            began = time.perf_counter()
            status, _ = sent(connection, "/lookup", *forms[turn % len(forms)])
            if status == 200:
                found.seconds.append(time.perf_counter() - began)
            else:
                found.refused += 1
            turn += clients

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found.memory_mib.append(server.memory_mib())
        time.sleep(min(MEMORY_EVERY_S, max(0.1, until - time.perf_counter())))
    found.lasted_s = time.perf_counter() - began
    return found


def bare_rate(run: Path, images_NCHW: np.ndarray, seconds: float) -> float:
    """Return how many images per second the network alone embeds, without a server."""
    embedder = load_for_queries(run / "index" / EMBEDDER_FOLDER)
    embed_images(embedder, images_NCHW[: embedder.runner.batch_size])
    began, count = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        embed_images(embedder, images_NCHW)
        count += len(images_NCHW)
    return count / (time.perf_counter() - began)


def main(run: Path, clients: int = 16, seconds: float = 60.0, bare_seconds: float = 15.0) -> None:
    """Print the rate of the network, and of the service without and with registration."""
    index = load_index(run / "index")
    rows = read_manifest(index.data, ("test",)).rows[:IMAGES]
    images = np.stack([read_image(row.files, index.spec, index.image_size_px) for row in rows])
    channels, known = index.spec.file_channels, len(index.embeddings.ids)
    print(f"{known:,} known images of {index.image_size_px} px; {clients} clients, {seconds:g} s")
    bare = [bare_rate(run, images, bare_seconds)]
    for registration in ("false", "true"):
        forms = forms_of(rows, channels, registration=registration)
        with served_run(run) as server:
            load(server, forms, clients=clients, seconds=min(5.0, seconds))  # warm
            found = load(server, forms, clients=clients, seconds=seconds)
        bare.append(bare_rate(run, images, bare_seconds))
        network = (bare[-2] + bare[-1]) / 2
        print(f"registration {registration}: {found.in_words()}")
        print(
            f"  {found.rate / network:.2f} of the network alone ({bare[-2]:.1f} images/s before, "
            f"{bare[-1]:.1f} after); the server started in {server.started_s:.2f} s"
        )


if __name__ == "__main__":
    tyro.cli(main)
