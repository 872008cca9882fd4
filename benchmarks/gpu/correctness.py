"""A comparison of the results of a GPU with those of the processor.

An embedder is trained on the device. Then an index is built and leaks are found on the device and
on the processor alone, each also with the index that the other one built. Exact search is compared
with that of faiss, and the tests that are marked `gpu` run.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import faiss
import numpy as np

from atlas.core.parallel import CORES
from atlas.dataset.artifacts import EmbeddingSet
from atlas.inference.settings import Precision, RuntimeOptions
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.embed import index as workflow
from atlas.workflows.leaks.finding import find_leaks
from benchmarks.gpu.part import ROOT, Work
from benchmarks.gpu.vectors import K, named, siblings
from benchmarks.side_by_side import own_process
from index.search.open_search import exact_search
from index.search.vector_index import build_index
from index.settings import LeakSettings
from retrieval.settings import RECIPES

LEAST_COSINE: dict[Precision, float] = {"float32": 0.9999, "bfloat16": 0.995}
TIE = 1e-4  # in cosine; float32 on two machines differs by less than a tenth of that
DEVICE, PROCESSOR = "device", "processor"
COUNTED = ("tests", "failures", "errors", "skipped")  # by pytest
WITHOUT_GPU = {"CUDA_VISIBLE_DEVICES": ""}
Claims = list[tuple[str, ...]]


def run(work: Work) -> None:
    """Compare the device with the processor, in everything that a user reads."""
    data, embedder = work.folder / "copies", work.folder / "smoke_embedder"
    with work.timed("drawing and training"):
        draw_atlas(_drawn(work.tiny), data, jobs=CORES)
        _train_smoke(data, embedder, tiny=work.tiny)
    with own_process(WITHOUT_GPU) as on_processor:
        places: dict[str, Callable[..., Any]] = {DEVICE: _here, PROCESSOR: on_processor}
        with work.timed("indexes"):
            compare_embeddings(work, data, embedder, places)
        with work.timed("claims"):
            compare_claims(work, data, places)
    with work.timed("exact search"):
        compare_search(work)
    with work.timed("tests"):
        run_gpu_tests(work)


def compare_embeddings(
    work: Work, data: Path, embedder: Path, places: dict[str, Callable[..., Any]]
) -> None:
    """Build an index in each place, and the device's in bfloat16 too; compare the vectors."""
    exact = places[PROCESSOR](built, data, embedder, index_folder(work, PROCESSOR), "float32")
    for precision, least in LEAST_COSINE.items():
        folder = index_folder(work, DEVICE, precision)
        found = places[DEVICE](built, data, embedder, folder, precision)
        cosines = (found.vectors_ND * exact.vectors_ND).sum(axis=1)
        agreement = nearest_agreement(found, exact)
        detail = (
            f"{len(cosines)} images: cosine at least {cosines.min():.6f} (wanted {least}); "
            f"{agreement:.1%} of the nearest neighbours are the same"
        )
        same = agreement == 1 or precision != "float32"
        work.check(f"embeddings in {precision}", cosines.min() >= least and same, detail)


def compare_claims(work: Work, data: Path, places: dict[str, Callable[..., Any]]) -> None:
    """Find leaks in each place, with the index that each built; all claims must be equal."""

    def claims(asked: str, made: str) -> Claims:
        out = work.folder / asked / f"leaks_{made}"
        return list(places[asked](found_claims, data, index_folder(work, made), out, work.tiny))

    expected = claims(PROCESSOR, PROCESSOR)
    for asked, made in ((DEVICE, DEVICE), (DEVICE, PROCESSOR), (PROCESSOR, DEVICE)):
        found = claims(asked, made)
        differing = len(set(found) ^ set(expected))
        detail = f"{len(found)} and {len(expected)} claims, {differing} differ"
        name = f"claims of the {asked}, index of the {made}"
        work.check(name, differing == 0 and len(expected) > 0, detail)


def compare_search(work: Work) -> None:
    """Compare the search that this machine chooses, our float32 search and plain faiss."""
    count, queries, dimension = (20_000, 100, 32) if work.tiny else (60_000, 1000, 256)
    vectors, asked = siblings(count, queries, dimension, work.device)
    known, wanted = named("v", vectors), named("q", asked)
    search = exact_search(known).vectors
    found, plain = search.search(wanted, K), build_index(known).search(wanted, K)
    flat = faiss.IndexFlatIP(dimension)
    flat.add(vectors)
    similarity_QK, _ = flat.search(asked, K)
    furthest = float(np.abs(similarity_QK - found.similarity_NK).max())
    equal = bool((found.reference_ids_NK == plain.reference_ids_NK).all())
    same_bits = bool((found.similarity_NK == plain.similarity_NK).all())
    detail = (
        f"{queries:,} queries among {count:,} x {dimension}: similarities differ from faiss Flat "
        f"by at most {furthest:.1e}; ids and bits equal those by float32: {equal and same_bits}"
    )
    work.check("exact search", equal and same_bits and furthest < 1e-5, detail)


def run_gpu_tests(work: Work) -> None:
    """Run the tests that are marked `gpu`, in whichever files these are; of a tiny run only those
    of the index, which load quickly."""
    folder = ROOT / "tests" / "index" if work.tiny else ROOT / "tests"
    marked = [
        path
        for path in sorted(folder.rglob("test_*.py"))
        if "pytest.mark.gpu" in path.read_text(encoding="utf-8")
    ]
    result = work.out / "parts" / "gpu_tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider",
               "-o", "filterwarnings=default", f"--junit-xml={result}",
               *map(str, marked)]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    print(done.stdout, done.stderr, sep="\n")
    suites = ElementTree.parse(result).getroot().iter("testsuite")
    (counts,) = [{key: int(suite.get(key, 0)) for key in COUNTED} for suite in suites]
    wrong = counts["failures"] + counts["errors"]
    ran = counts["tests"] - counts["skipped"]
    detail = f"{ran} ran, {wrong} failed, {counts['skipped']} skipped, of {len(marked)} files"
    work.check("tests marked gpu", wrong == 0 and (ran > 0 or not work.device.is_gpu), detail)


def built(data: Path, embedder: Path, out: Path, precision: Precision) -> EmbeddingSet:
    """Build an index by torch in this precision, and return its embeddings."""
    options = RuntimeOptions(runtime="torch", precision=precision)
    return workflow.build_index(data, embedder, out, runtime=options).opened.embeddings


def found_claims(data: Path, index: Path, out: Path, tiny: bool) -> Claims:
    """Find leaks, and return the claims: test image, its match, relation and decision."""
    few = 4 if tiny else 200
    settings = LeakSettings(planted_copies=few, natural_queries=few, sibling_queries=few)
    if tiny:
        settings = replace(settings, neighbours=4, hashes="none")
    leaks = find_leaks(data, index, out, settings).table
    columns = ["Id", "match_id", "relation", "decision"]
    return [tuple(map(str, row)) for row in leaks[columns].itertuples(index=False)]


def nearest_agreement(one: EmbeddingSet, other: EmbeddingSet) -> float:
    """Return the share of images whose nearest neighbour in the first set is that of the second,
    or one that is as near there within `TIE`."""
    nearest = []
    for vectors_ND in (one.vectors_ND, other.vectors_ND):
        similarity_NN = vectors_ND @ vectors_ND.T
        np.fill_diagonal(similarity_NN, -1)
        nearest.append(similarity_NN.argmax(axis=1))
    rows = np.arange(len(one.ids))
    gap_N = similarity_NN[rows, nearest[1]] - similarity_NN[rows, nearest[0]]
    return float(np.mean(gap_N <= TIE))


def index_folder(work: Work, place: str, precision: str = "float32") -> Path:
    """Where the index lies that this place built."""
    return work.folder / place / precision / "index"


def _drawn(tiny: bool) -> DrawnAtlasSettings:
    identities, fields, copies = (4, 2, 4) if tiny else (80, 3, 120)
    return DrawnAtlasSettings(
        identities=identities,
        fields_per_identity=fields,
        size_px=64,
        test_fields_per_identity=1,
        novel_identities=identities // 2,
        copies=copies,
    )


def _train_smoke(data: Path, embedder: Path, *, tiny: bool) -> None:
    from atlas.workflows.embed.embedder import train_embedder  # Lightning, which is slow to load

    settings = RECIPES["smoke"]
    training = replace(settings.training, epochs=1) if tiny else settings.training
    train_embedder(data, embedder, replace(settings, weights="none", training=training))


def _here(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
