"""Which test images are already known: candidates, their pixels, cuts measured here, claims."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.artifact_files import save_table
from atlas.artifacts import LeakReport, Matches, Neighbours
from atlas.errors import DataError, ProvenanceError
from atlas.files import content_hash, folder_written_beside, write_json
from atlas.manifest import LABELLED, Manifest, read_manifest
from atlas.store import ImageStore, fill_store
from index.calibration import (
    SameImageCalibration,
    SiblingCalibration,
    calibrate_same_image,
    calibrate_sibling,
    no_siblings,
)
from index.index_folder import EMBEDDER_FOLDER, IndexFolder, load_index
from index.leaks import find_leaks, find_matches
from index.settings import LeakSettings, RegistrationSettings
from index.trials import edit_of, plant_copies, sample_ids, sibling_trials, sources_only
from index.verification import ReadFields, examine
from pipeline.leak_pictures import save_leak_pictures
from retrieval.embedder import Embedder
from retrieval.embedder_files import load_embedder
from retrieval.embedding import embed_rows


@dataclass(frozen=True, kw_only=True)
class LeakFinding:
    """What `find_leaks` found and measured, and where it wrote it."""

    folder: Path
    matches: Matches
    leaks: LeakReport
    same_image: SameImageCalibration
    sibling: SiblingCalibration
    planted_recall: dict[str, float]
    query_count: int


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What every measurement here needs: the index, its embedder and the images."""

    index: IndexFolder
    embedder: Embedder
    store: ImageStore
    work: Path
    settings: LeakSettings
    registration: RegistrationSettings

    def neighbours(self, ids: Sequence[str], read: ReadFields, what: str) -> Neighbours:
        queries = embed_rows(
            self.embedder, read, ids,
            folder=self.work / "embeddings",
            source=content_hash(self.store.content_hash, str(self.settings.seed)),
            description=f"embedding {what}",
        )  # fmt: skip
        return self.index.search_index.search(queries, self.settings.neighbours)

    def evidence(self, found: Neighbours, read: ReadFields, what: str) -> NDArray[np.float32]:
        return examine(
            found, read, self.store.read, self.registration,
            folder=self.work / "evidence", description=f"comparing {what}",
        )  # fmt: skip


def find_leaks_of(
    data: Path,
    index_folder: Path,
    out: Path,
    settings: LeakSettings,
    registration: RegistrationSettings,
) -> LeakFinding:
    """Writes matches.csv, leaks.csv, calibration.json, suspected_copies.csv and pictures to `out`.

    Work that takes long is kept in the folder `store` beside `out`, so a killed run goes on.
    """
    index = load_index(index_folder)
    embedder = load_embedder(index_folder / EMBEDDER_FOLDER)
    manifest = read_manifest(data)
    test = manifest.of("test")
    if not test.rows:
        raise DataError(str(data), ["no test images: sample_submission.csv names none"])
    _check_same_atlas(manifest, index)
    work = out.parent / "store"
    store = fill_store(manifest, work, size_px=index.image_size_px)
    bench = _Bench(
        index=index, embedder=embedder, store=store, work=work,
        settings=settings, registration=registration,
    )  # fmt: skip
    neighbours = bench.neighbours(test.ids, store.read, "test images")
    evidence_NK = bench.evidence(neighbours, store.read, "test images")
    same_image, planted_recall, natural, suspected = _measure_same_image(bench)
    sibling = _measure_sibling(bench)
    matches = find_matches(
        neighbours, evidence_NK, same_image, sibling,
        splits={row.id: row.split for row in manifest.rows}, identities=index.identities,
    )  # fmt: skip
    leaks = find_leaks(matches, labels=index.labels, identities=index.identities)
    with folder_written_beside(out) as folder:
        save_table(folder / "matches.csv", matches.table)
        save_table(folder / "leaks.csv", leaks.table)
        save_table(folder / "suspected_copies.csv", suspected)
        calibration = {
            "same_image": asdict(same_image),
            "sibling": asdict(sibling),
            "planted_recall": planted_recall,
            "settings": asdict(settings),
            "registration": asdict(registration),
            "embedder": embedder.fingerprint,
            "images": store.content_hash,
        }
        write_json(folder / "calibration.json", calibration)
        save_leak_pictures(
            folder, matches, leaks, store,
            same_image=same_image, natural=natural, best=evidence_NK.max(axis=1),
            suspected=suspected,
        )  # fmt: skip
    return LeakFinding(
        folder=out,
        matches=matches,
        leaks=leaks,
        same_image=same_image,
        sibling=sibling,
        planted_recall=planted_recall,
        query_count=len(test.rows),
    )


def _check_same_atlas(manifest: Manifest, index: IndexFolder) -> None:
    references = set(manifest.of(*LABELLED).ids)
    missing = [i for i in index.embeddings.ids if i not in references]
    if missing or manifest.spec.channels != index.spec.channels:
        what = f"image {missing[0]} is not in it" if missing else "its channels are others"
        raise ProvenanceError(
            f"the index was not made from this data ({what}): "
            "run  python scripts/build_index.py  with the same --data"
        )


def _measure_same_image(
    bench: _Bench,
) -> tuple[SameImageCalibration, dict[str, float], NDArray[np.float64], pd.DataFrame]:
    """Calibration, recall by edit, natural evidence, and pairs within the atlas over the cut."""
    settings, ids = bench.settings, bench.index.embeddings.ids
    copies = plant_copies(ids, bench.store.read, count=settings.planted_copies, seed=settings.seed)
    found = bench.neighbours(copies.ids, copies.read, "planted copies")
    planted = bench.evidence(sources_only(found), copies.read, "planted copies")[:, 0].astype(float)
    sample = sample_ids(ids, count=settings.natural_queries, seed=settings.seed)
    nearest = bench.index.search_index.search(
        bench.index.embeddings.aligned_to(sample), settings.neighbours
    )
    pairs = bench.evidence(nearest, bench.store.read, "distinct pairs").astype(float)
    best = pairs.max(axis=1)
    natural = best[best > -1.0]
    calibration = calibrate_same_image(planted, natural, settings)
    edits = pd.Series(planted >= calibration.cut, index=[edit_of(i) for i in copies.ids])
    recall = {str(edit): float(share) for edit, share in edits.groupby(level=0).mean().items()}
    return calibration, recall, natural, _suspected(nearest, pairs, calibration.cut)


def _suspected(nearest: Neighbours, pairs: NDArray[np.float64], cut: float) -> pd.DataFrame:
    """Pairs of the atlas's own images that reach the cut, each once, best first."""
    rows, columns = np.nonzero(pairs >= cut)
    ids = [
        tuple(sorted((nearest.query_ids[n], str(nearest.reference_ids_NK[n, k]))))
        for n, k in zip(rows, columns, strict=True)
    ]
    table = pd.DataFrame(ids, columns=["query_id", "match_id"])
    table["evidence"] = pairs[rows, columns]
    table = table.sort_values(["evidence", "query_id", "match_id"], ascending=[False, True, True])
    return table.drop_duplicates(["query_id", "match_id"]).reset_index(drop=True)


def _measure_sibling(bench: _Bench) -> SiblingCalibration:
    identities = bench.index.identities
    if not any(identities.values()):
        return no_siblings("no identity occurs twice, so no sibling is claimed")
    held_out = bench.embedder.held_out
    known = [i for i in held_out.held_out_ids or identities if identities.get(i)]
    # Fields of antibodies that trained nothing stand for new ones, where the embedder kept some.
    new = [i for i in held_out.unseen_identity_ids or known if identities.get(i)]
    trials = sibling_trials(bench.index, known_ids=known, unknown_ids=new)
    return calibrate_sibling(trials.known, trials.correct, trials.unknown, bench.settings)
