"""The search for known test images, from an index to a folder of claims.

Every test image is embedded, its candidates are proposed and compared by pixels, the pairs are
judged by thresholds that were measured on the atlas itself, and the claims are written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import ProvenanceError, Stage
from atlas.core.execution import LOCAL, ExecutionSettings, end_part, executes
from atlas.core.files import AnyPath, InFolder
from atlas.core.locks import writes
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.core.row_cache import cache_folder
from atlas.core.wording import counted
from atlas.dataset.artifacts import (
    SAME_IMAGE,
    SIBLING,
    LeakReport,
    Matches,
    save_table,
)
from atlas.dataset.manifest import Manifest, require_test_ids
from atlas.dataset.tables import GROUPS_TABLE
from atlas.dataset.verdicts import Judged, Verdicts, read_verdicts, verdicts_beside
from atlas.workflows.embed.index import open_atlas_index
from atlas.workflows.leaks.calibration import (
    LeakCalibration,
    calibrate,
    load_calibration,
    save_calibration,
    save_certificate,
)
from atlas.workflows.leaks.pictures import save_leak_pictures
from atlas.workflows.leaks.report import save_leak_report
from atlas.workflows.leaks.search import LeakSearch, open_leak_search
from atlas.workflows.leaks.siblings import (
    FoundSiblings,
    find_siblings,
    inherited_identities,
)
from atlas.workflows.leaks.verdicts import judged_claims, judged_images, save_source, with_accepted
from atlas.workflows.made_from import save_images
from atlas.workflows.run_folder import (
    LEAKS_FILE,
    MATCHES_FILE,
    REPORT_FILE,
    SIBLINGS_FILE,
)
from index.claims import leaks as claims
from index.claims.duplicates import claimed_groups, clean_views, group_table
from index.claims.leaks import TRANSFER, find_matches
from index.claims.likely_copies import likely_copies
from index.claims.verdicts import with_verdicts
from index.copies.certificate import Certificate
from index.copies.false_alarms import NonMatches
from index.settings import LeakSettings, RegistrationSettings
from index.siblings.calibration import no_siblings


@dataclass(frozen=True, kw_only=True)
class LeakFinding(InFolder):
    """The known test images, and the calibration behind the claims.

    Attributes:
        folder: The folder with leaks.csv, matches.csv, calibration.json, the report and pictures.
        test_ids: The test images, in the order of the tables.
        calibration: The thresholds and guarantees.
        certificate: How many of the claims of copies can be false.
        labels: The labels of the labelled images, by id.
        channels: The names of the channels.
        matches: All examined pairs, as the scores alone claim them.
        verdicts: What people have said about pairs.
        judged: What of it concerns the images of this atlas.
        leaks: The claims, after the verdicts.
        siblings: The labelled identity that fits each test image best.
        best_scores_N: The score of each test image's best candidate.
        group_of: The group of every image that shows the same field as another.
        clean_views: The ids of each view without copies.
    """

    folder: Path
    test_ids: tuple[str, ...]
    calibration: LeakCalibration
    certificate: Certificate
    labels: Mapping[str, tuple[int, ...]]
    channels: tuple[str, ...]
    matches: Matches
    verdicts: Verdicts
    judged: Judged
    leaks: LeakReport
    siblings: FoundSiblings
    best_scores_N: NDArray[np.float32]
    group_of: dict[str, str]
    clean_views: dict[str, tuple[str, ...]]

    @property
    def table(self) -> pd.DataFrame:
        """The claims, with one row for each known test image; see `leaks.csv`."""
        return self.leaks.table

    @cached_property
    def likely(self) -> pd.DataFrame:
        """Test images without a claim that are probably copies; a person should look at them.

        The score of their best candidate is below the threshold, and a copy has such a score more
        often than a non-match. The columns are those of `table`, and nothing is transferred.
        """
        return likely_copies(
            self.matches.table, claimed=set(self.table["Id"]), tests=self.test_ids,
            labels=self.labels, channels=self.channels,
            same_image=self.calibration.same_image.calibration, judged=self.judged,
        )  # fmt: skip

    @property
    def report(self) -> Path:
        """The page that shows every claim with its pictures."""
        return self.folder / REPORT_FILE

    @property
    def guarantee(self) -> dict[str, str]:
        """The guarantee of each relation, and the certificate of the copies, as sentences."""
        sibling = self.calibration.sibling
        said = {SAME_IMAGE: self.calibration.same_image.calibration.guarantee.in_words()}
        said["certificate"] = self.certificate.in_words()
        said[SIBLING] = "; ".join(sibling.in_words()) or sibling.note
        return said

    @property
    def counts(self) -> dict[str, int]:
        """The number of test images, and of each kind."""
        table = self.table
        return {
            "test_images": len(self.best_scores_N),
            "copies": int((table["relation"] == SAME_IMAGE).sum()),
            "likely_copies": len(self.likely),
            "siblings": int((table["relation"] == SIBLING).sum()),
            "transferred": int((table["decision"] == TRANSFER).sum()),
            "unknown": len(self.best_scores_N) - len(table) - len(self.likely),
        }

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        n = self.counts
        return (
            f"{n['copies']:,} of {n['test_images']:,} test images are copies of labelled images, "
            f"{n['likely_copies']:,} more are probably copies, {n['siblings']:,} are siblings, and "
            f"{n['unknown']:,} match no labelled image; labels are transferred to "
            f"{counted(n['transferred'], 'image')}."
        )

    def _repr_html_(self) -> str:
        return f"<p>{self.summary}</p>{self.table.to_html(max_rows=20, index=False)}"


@executes()
@writes("out")
def find_leaks(
    data: AnyPath = "data",
    index: AnyPath = "runs/index",
    out: AnyPath = "runs/leaks",
    settings: LeakSettings = LeakSettings(),
    *,
    registration: RegistrationSettings = RegistrationSettings(),
    execution: ExecutionSettings = LOCAL,
) -> LeakFinding:
    """Find the test images that are copies or siblings of labelled ones.

    Matches, claims, groups, clean views, calibration, pictures and a report are written to `out`.
    Work that takes long is kept in the cache folder beside `out`, so a stopped run is resumed.

    Args:
        data: The atlas folder.
        index: The index that was built from the same data.
        out: The folder to write.
        settings: What is claimed, and on what measurements.
        registration: How one image is laid over another.
        execution: Where the long work runs.

    Raises:
        ProvenanceError: The index was not made from this data.
        UserError: `out` holds something else.

    Example:
        >>> leaks = atlas.find_leaks("data", "runs/index")  # doctest: +SKIP
        >>> print(leaks.summary)  # doctest: +SKIP
    """
    data, index, out = Path(data), Path(index), Path(out)
    check_replaceable(out, "find_leaks")
    return _find_and_write(data, index, out, settings, registration, calibrate)


@writes("out", command="update")
def find_leaks_again(data: Path, index_folder: Path, out: Path) -> LeakFinding:
    """Find leaks like `find_leaks`, with the settings and the calibration in `out`.

    Raises:
        ProvenanceError: The index has another embedder now.
    """
    held = load_calibration(out)

    def as_held(search: LeakSearch) -> LeakCalibration:
        wanted = (held.embedder, *held.further_embedders)
        for folder, made, found in zip(
            (index_folder, *held.settings.further_indexes),
            wanted, (search.embedder.maker, *search.further_makers), strict=True,
        ):  # fmt: skip
            if made != found:
                raise ProvenanceError(
                    f"{out} was calibrated with another embedder than that of {folder}; "
                    f"run {Stage.LEAKS.command} again"
                )
        return held.for_gallery(search)

    return _find_and_write(
        data, index_folder, out, held.settings, held.registration, as_held, held.law
    )


def _find_and_write(
    data: Path,
    index_folder: Path,
    out: Path,
    settings: LeakSettings,
    registration: RegistrationSettings,
    calibrated: Callable[[LeakSearch], LeakCalibration],
    law: NonMatches | None = None,
) -> LeakFinding:
    manifest, index = open_atlas_index(data, index_folder)
    require_test_ids(data)
    search = open_leak_search(manifest, index, cache_folder(out), settings, registration)
    search = replace(search, measured_law=law)
    found = _find(search, manifest, calibrated(search), out)
    end_part()
    _write(found, search)
    return found


def _find(
    search: LeakSearch, manifest: Manifest, calibration: LeakCalibration, out: Path
) -> LeakFinding:
    index, images = search.index, search.stored("test images")
    same_image, sibling = calibration.same_image.calibration, calibration.sibling
    splits = {row.id: row.split for row in manifest.rows}
    verdicts = read_verdicts(verdicts_beside(out))
    judged = judged_images(verdicts, search.store.key_of)
    tests = search.embedded(manifest.of("test").ids, images)
    candidates = with_accepted(search.candidates(tests, images), judged, tests, index.embeddings)
    registrations = search.registrations(candidates, images)
    identities = inherited_identities(index.identities, calibration.same_image.suspected)
    siblings = find_siblings(search, identities, sibling, tests, candidates, registrations)
    known = find_matches(
        candidates, registrations, same_image, sibling, equal_NK=search.equal(candidates),
        splits=splits, identities=identities, siblings=siblings.best,
    )  # fmt: skip
    others = with_accepted(
        search.candidates(tests, images, among=search.gallery_of(tests)), judged, tests, tests
    )
    one_another = find_matches(
        others, search.registrations(others, images), same_image,
        no_siblings("test images have no known identity"), equal_NK=search.equal(others),
        splits=splits, identities={}, siblings={},
    )  # fmt: skip
    matches = Matches(table=pd.concat([known.table, one_another.table], ignore_index=True))
    best_scores_N = registrations.scores_NK.max(axis=1)
    certificate = calibration.certificate(
        best_scores_N.astype(float), claims=claims.uncertain_copies(known)
    )
    leaks = judged_claims(
        known, judged, calibration, certificate, identities=identities, labels=index.labels,
        channels=index.spec.channels, siblings=siblings.best,
    )  # fmt: skip
    tied = with_verdicts(matches, judged, identities)
    groups = claimed_groups(tied, manifest.ids, judged)
    return LeakFinding(
        folder=out,
        test_ids=manifest.of("test").ids,
        labels=index.labels,
        channels=index.spec.channels,
        calibration=calibration,
        certificate=certificate,
        matches=matches,
        verdicts=verdicts,
        judged=judged,
        leaks=leaks,
        siblings=siblings,
        best_scores_N=best_scores_N,
        group_of=groups,
        clean_views=clean_views(tied, splits, groups),
    )


def _write(found: LeakFinding, search: LeakSearch) -> None:
    calibration, best = found.calibration, found.best_scores_N
    with folder_written_beside(found.folder, written_by="find_leaks") as folder:
        save_table(folder / MATCHES_FILE, found.matches.table)
        save_table(folder / LEAKS_FILE, found.leaks.table)
        save_table(folder / SIBLINGS_FILE, found.siblings.table)
        save_table(folder / GROUPS_TABLE, group_table(found.group_of))
        for name, ids in found.clean_views.items():
            save_table(folder / "clean" / f"{name}.csv", pd.DataFrame({"Id": ids}))
        save_calibration(folder, calibration)
        save_certificate(folder, found.certificate)
        save_source(folder, search.index.table_hash, found.verdicts)
        save_images(folder, search.store.key_of)
        save_leak_pictures(folder, found.leaks, search.store, calibration, best=best)
        save_leak_report(
            folder, search.store, calibration, found.certificate, spec=search.index.spec,
            test_images=len(best), verdicts=found.verdicts,
        )  # fmt: skip
