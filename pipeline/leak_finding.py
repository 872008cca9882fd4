"""Which test images are already known: candidates, their pixels, cuts measured here, claims."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.artifact_files import save_table
from atlas.artifacts import LeakReport, Matches
from atlas.errors import DataError, ProvenanceError, UserError
from atlas.files import check_replaceable, folder_written_beside, write_json
from atlas.manifest import Manifest, read_manifest
from atlas.store import fill_store
from atlas.tables import GROUPS_TABLE
from index.calibration import SameImageCalibration, SiblingCalibration, no_siblings
from index.clean_views import claimed_groups, clean_views
from index.duplicates import group_table
from index.index_folder import EMBEDDER_FOLDER, IndexFolder, load_index
from index.leaks import SAME_IMAGE, SIBLING, find_leaks, find_matches
from index.settings import LeakSettings, RegistrationSettings, problems
from pipeline.leak_bench import (
    LeakBench,
    SameImageMeasurement,
    measure_same_image,
    measure_sibling,
)
from pipeline.leak_page import save_leak_report
from pipeline.leak_pictures import save_leak_pictures
from retrieval.embedder_files import load_embedder

CALIBRATION_FILE = "calibration.json"


@dataclass(frozen=True, kw_only=True)
class LeakFinding:
    """What was found and measured.

    group_of: of every image that shows the same as another. best_evidence_N: of each test image's
    best candidate.
    """

    matches: Matches
    leaks: LeakReport
    same_image: SameImageMeasurement
    sibling: SiblingCalibration
    best_evidence_N: NDArray[np.float32]
    group_of: dict[str, str]
    clean_views: dict[str, tuple[str, ...]]


def find_leaks_of(
    data: Path,
    index_folder: Path,
    out: Path,
    settings: LeakSettings,
    registration: RegistrationSettings,
) -> LeakFinding:
    """Writes matches, claims, groups, clean views, calibration and pictures to `out`.

    Work that takes long is kept in the folder `store` beside `out`, so a killed run goes on.
    """
    if wrong := "; ".join(problems(settings)):
        raise UserError(wrong)
    check_replaceable(out, holds=CALIBRATION_FILE)
    index = load_index(index_folder)
    manifest = read_manifest(data)
    if not manifest.of("test").rows:
        raise DataError(str(data), ["no test images: sample_submission.csv names none"])
    _check_same_atlas(manifest, index)
    work = out.parent / "store"
    bench = LeakBench(
        index=index,
        embedder=load_embedder(index_folder / EMBEDDER_FOLDER),
        store=fill_store(manifest, work, size_px=index.image_size_px),
        work=work,
        settings=settings,
        registration=registration,
    )
    found = _find(bench, manifest)
    with folder_written_beside(out, holds=CALIBRATION_FILE) as folder:
        _write(folder, found, bench)
    return found


def _find(bench: LeakBench, manifest: Manifest) -> LeakFinding:
    index, images = bench.index, bench.stored("test images")
    splits = {row.id: row.split for row in manifest.rows}
    tests = bench.embedded(manifest.of("test").ids, images)
    neighbours = bench.candidates(tests, images)
    evidence_NK = bench.evidence(neighbours, images)
    same_image, sibling = measure_same_image(bench), measure_sibling(bench)
    known = find_matches(
        neighbours, evidence_NK, same_image.calibration, sibling,
        splits=splits, identities=index.identities,
    )  # fmt: skip
    among = bench.candidates(tests, images, among=tests)
    one_another = find_matches(
        among, bench.evidence(among, images), same_image.calibration,
        no_siblings("test images have no known identity"), splits=splits, identities={},
    )  # fmt: skip
    matches = Matches(table=pd.concat([known.table, one_another.table], ignore_index=True))
    return LeakFinding(
        matches=matches,
        leaks=find_leaks(
            known, labels=index.labels, identities=index.identities,
            unproven=_unproven(bench.settings, same_image.calibration, sibling),
        ),
        same_image=same_image,
        sibling=sibling,
        best_evidence_N=evidence_NK.max(axis=1),
        group_of=claimed_groups(matches, manifest.ids),
        clean_views=clean_views(matches, splits),
    )  # fmt: skip


def _unproven(
    settings: LeakSettings, same_image: SameImageCalibration, sibling: SiblingCalibration
) -> frozenset[str]:
    promises = {SAME_IMAGE: same_image.promise, SIBLING: sibling.promise}
    if settings.accept_unproven:
        return frozenset()
    return frozenset(name for name, kept in promises.items() if not kept or not kept.reached)


def _write(folder: Path, found: LeakFinding, bench: LeakBench) -> None:
    save_table(folder / "matches.csv", found.matches.table)
    save_table(folder / "leaks.csv", found.leaks.table)
    save_table(folder / "suspected_copies.csv", found.same_image.suspected)
    save_table(folder / GROUPS_TABLE, group_table(found.group_of))
    for name, ids in found.clean_views.items():
        save_table(folder / "clean" / f"{name}.csv", pd.DataFrame({"Id": ids}))
    calibration = {
        "same_image": asdict(found.same_image.calibration),
        "sibling": asdict(found.sibling),
        "planted_recall": found.same_image.planted_recall,
        "settings": asdict(bench.settings),
        "registration": asdict(bench.registration),
        "embedder": bench.embedder.fingerprint,
        "images": bench.store.content_hash,
    }
    write_json(folder / CALIBRATION_FILE, calibration)
    save_leak_pictures(
        folder,
        found.leaks,
        bench.store,
        same_image=found.same_image.calibration,
        natural=found.same_image.natural,
        best=found.best_evidence_N,
        suspected=found.same_image.suspected,
    )
    save_leak_report(
        folder, found.leaks, bench, same_image=found.same_image.calibration,
        sibling=found.sibling, test_images=len(found.best_evidence_N),
    )  # fmt: skip


def _check_same_atlas(manifest: Manifest, index: IndexFolder) -> None:
    if manifest.labelled.table_hash != index.table_hash:
        raise ProvenanceError(
            "the index was not made from this data, or its labelled images or labels have changed "
            "since: run  python scripts/build_index.py  with the same --data"
        )
