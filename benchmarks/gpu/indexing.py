"""Building an index of drawn fields on the device: from PNGs, from a decoded store, and the network
alone; images per second, and the stage that the others wait for.

The network is a ResNet50 that learned nothing, which is as fast as a trained one. Starting Python
and loading libraries are not counted.
"""

import shutil
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from atlas.core.result_folder import folder_written_beside
from atlas.core.row_cache import CACHE_NAME
from atlas.core.timing import StageCost, costs, recorded
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from atlas.inference.settings import RuntimeOptions
from atlas.workflows.embed.index import build_index
from benchmarks.gpu.drawing import backbone_name, drawn_manifest, size_px
from benchmarks.gpu.part import Work
from benchmarks.untrained import untrained_embedder
from index.index_folder import EMBEDDER_FOLDER
from retrieval.embedder import load_embedder, save_embedder
from retrieval.embedding import embed_store

RUNTIME = RuntimeOptions(runtime="torch")  # in the precision that the machine takes by itself


def run(work: Work) -> None:
    """Measure each way to an index."""
    data, manifest = drawn_manifest(work)
    embedder, run_folder = work.folder / "untrained", work.folder / "indexing"
    channels = manifest.spec.channels
    made = untrained_embedder(channels, size_px(work), backbone_name=backbone_name(work), views=8)
    with folder_written_beside(embedder, written_by="untrained") as folder:
        save_embedder(folder, made)
    with work.timed("checking the precision, and warming up"):
        build(data, embedder, run_folder)
    forget(run_folder, kept=("runtimes",))
    images = len(manifest.labelled.ids)
    measure_build(work, "from PNGs", images, partial(build, data, embedder, run_folder))
    forget(run_folder, kept=("runtimes", *stores(run_folder)))
    measure_build(work, "from a decoded store", images, partial(build, data, embedder, run_folder))
    measure_network(work, data, run_folder)


def build(data: Path, embedder: Path, run_folder: Path) -> None:
    """Build the index as the command does."""
    build_index(data, str(embedder), run_folder / "index", runtime=RUNTIME)


def forget(run_folder: Path, *, kept: Collection[str]) -> None:
    """Remove the index, and all of its row cache but these folders."""
    shutil.rmtree(run_folder / "index")
    for folder in (run_folder / CACHE_NAME).iterdir():
        if folder.name not in kept:
            shutil.rmtree(folder)


def stores(run_folder: Path) -> list[str]:
    """Return the names of the folders that hold decoded images."""
    return [folder.name for folder in (run_folder / CACHE_NAME).glob("*px-*")]


def measure_build(work: Work, group: str, images: int, make: Callable[[], None]) -> None:
    """Build once, and say which stage the others waited for."""
    start = time.monotonic()
    with recorded() as recorder:
        make()
    seconds = time.monotonic() - start
    stages = costs(recorder.spans)
    slowest = max(stages, key=lambda cost: cost.alone_s)
    work.found(
        group, images_per_s=images / seconds, seconds=seconds, bottleneck=slowest.stage,
        bottleneck_alone_s=slowest.alone_s, **{cost.stage: _said(cost) for cost in stages},
    )  # fmt: skip


def measure_network(work: Work, data: Path, run_folder: Path) -> None:
    """Embed stored images, keeping nothing: what the network and its batches allow."""
    manifest = read_manifest(data)
    store = fill_store(manifest, run_folder / CACHE_NAME, size_px=size_px(work))
    embedder = load_embedder(run_folder / "index" / EMBEDDER_FOLDER)
    seconds = work.device.seconds_of(
        lambda: embed_store(embedder, store, store.ids, folder=None), rounds=1
    )
    rate = len(store.ids) / seconds
    peak, _ = work.device.peaks(tiny=work.tiny)
    images = torch.from_numpy(store.read(store.ids[:1])).to(work.device.kind)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        embedder.network.to(work.device.kind).eval()(images)
    flops = counter.get_total_flops()
    work.found(
        "network alone", images_per_s=rate, runs_on=str(embedder.choice),
        gflop_per_image=flops / 1e9, share_of_bfloat16_peak=rate * flops / peak,
    )  # fmt: skip


def _said(cost: StageCost) -> str:
    rate = f", {cost.items / cost.wall_s:,.0f}/s" if cost.items and cost.wall_s else ""
    return f"{cost.items:,} items, {cost.wall_s:.2f} s, {cost.alone_s:.2f} s alone{rate}"
