"""Which test images are already known: candidates, their pixels, cuts measured here, claims."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import DataError, ProvenanceError, Stage
from atlas.core.files import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import LeakReport, Matches, save_table
from atlas.dataset.manifest import Manifest
from atlas.dataset.tables import GROUPS_TABLE
from atlas.workflows.embed.atlas_index import open_atlas_index
from atlas.workflows.leaks.calibration import (
    CALIBRATION_FILE,
    LeakCalibration,
    load_calibration,
    save_calibration,
)
from atlas.workflows.leaks.measurement import (
    LeakBench,
    measure_same_image,
    measure_sibling,
    open_bench,
)
from atlas.workflows.leaks.pictures import save_leak_pictures
from atlas.workflows.leaks.report import save_leak_report
from index.claims.duplicates import claimed_groups, clean_views, group_table
from index.claims.leaks import SAME_IMAGE, SIBLING, find_leaks, find_matches
from index.copies.calibration import no_siblings
from index.settings import LeakSettings, RegistrationSettings


@dataclass(frozen=True, kw_only=True)
class LeakFinding:
    """What was found, and by which calibration.

    group_of: of every image that shows the same as another. best_evidence_N: of each test image's
    best candidate.
    """

    calibration: LeakCalibration
    matches: Matches
    leaks: LeakReport
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
    check_replaceable(out, holds=CALIBRATION_FILE)
    manifest, bench = _open(data, index_folder, out, settings, registration)
    calibration = LeakCalibration(
        same_image=measure_same_image(bench),
        sibling=measure_sibling(bench),
        settings=settings,
        registration=registration,
        embedder=bench.embedder.maker,
    )
    return _found(bench, manifest, calibration, out)


def find_leaks_again(data: Path, index_folder: Path, out: Path) -> LeakFinding:
    """As `find_leaks_of`, with the settings and by the calibration that `out` holds already.

    Raises ProvenanceError where the index has another embedder by now.
    """
    calibration = load_calibration(out)
    manifest, bench = _open(data, index_folder, out, calibration.settings, calibration.registration)
    if calibration.embedder != bench.embedder.maker:
        raise ProvenanceError(
            f"{out} was calibrated for another embedder than that of {index_folder}: "
            f"run  {Stage.LEAKS.command}"
        )
    return _found(bench, manifest, calibration, out)


def _open(
    data: Path,
    index_folder: Path,
    out: Path,
    settings: LeakSettings,
    registration: RegistrationSettings,
) -> tuple[Manifest, LeakBench]:
    manifest, index = open_atlas_index(data, index_folder)
    if not manifest.of("test").rows:
        raise DataError(str(data), ["no test images: sample_submission.csv names none"])
    return manifest, open_bench(manifest, index, cache_folder(out), settings, registration)


def _found(
    bench: LeakBench, manifest: Manifest, calibration: LeakCalibration, out: Path
) -> LeakFinding:
    found = _find(bench, manifest, calibration)
    with folder_written_beside(out, holds=CALIBRATION_FILE) as folder:
        _write(folder, found, bench)
    return found


def _find(bench: LeakBench, manifest: Manifest, calibration: LeakCalibration) -> LeakFinding:
    index, images = bench.index, bench.stored("test images")
    same_image, sibling = calibration.same_image.calibration, calibration.sibling
    splits = {row.id: row.split for row in manifest.rows}
    tests = bench.embedded(manifest.of("test").ids, images)
    neighbours = bench.candidates(tests, images)
    evidence_NK = bench.evidence(neighbours, images)
    known = find_matches(
        neighbours, evidence_NK, same_image, sibling, splits=splits, identities=index.identities
    )
    among = bench.candidates(tests, images, among=bench.gallery_of(tests))
    one_another = find_matches(
        among, bench.evidence(among, images), same_image,
        no_siblings("test images have no known identity"), splits=splits, identities={},
    )  # fmt: skip
    matches = Matches(table=pd.concat([known.table, one_another.table], ignore_index=True))
    return LeakFinding(
        calibration=calibration,
        matches=matches,
        leaks=find_leaks(
            known, labels=index.labels, identities=index.identities,
            unproven=_unproven(calibration),
        ),
        best_evidence_N=evidence_NK.max(axis=1),
        group_of=claimed_groups(matches, manifest.ids),
        clean_views=clean_views(matches, splits),
    )  # fmt: skip


def _unproven(calibration: LeakCalibration) -> frozenset[str]:
    promises = {
        SAME_IMAGE: calibration.same_image.calibration.promise,
        SIBLING: calibration.sibling.promise,
    }
    if calibration.settings.accept_unproven:
        return frozenset()
    return frozenset(name for name, kept in promises.items() if not kept or not kept.reached)


def _write(folder: Path, found: LeakFinding, bench: LeakBench) -> None:
    save_table(folder / "matches.csv", found.matches.table)
    save_table(folder / "leaks.csv", found.leaks.table)
    save_table(folder / GROUPS_TABLE, group_table(found.group_of))
    for name, ids in found.clean_views.items():
        save_table(folder / "clean" / f"{name}.csv", pd.DataFrame({"Id": ids}))
    save_calibration(folder, found.calibration)
    same_image = found.calibration.same_image
    save_leak_pictures(
        folder,
        found.leaks,
        bench.store,
        same_image=same_image.calibration,
        sibling=found.calibration.sibling,
        natural=same_image.natural,
        best=found.best_evidence_N,
        suspected=same_image.suspected,
    )
    save_leak_report(
        folder, found.leaks, bench.store, found.calibration,
        spec=bench.index.spec, test_images=len(found.best_evidence_N),
    )  # fmt: skip
