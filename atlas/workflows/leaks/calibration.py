"""Calibration: the thresholds of claims, measured on the atlas itself, and their guarantees.

Copies of the atlas's own images are planted and searched for, and each image's nearest other image
shows how similar different images are. The result is `calibration.json`.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import Stage
from atlas.core.files import write_json
from atlas.core.result_files import read_json, understood
from atlas.dataset.artifacts import SAME_IMAGE, SIBLING, Neighbours, load_table, save_table
from atlas.workflows.leaks.siblings import (
    inherited_identities,
    log_best_precision,
    measure_siblings,
)
from atlas.workflows.run_folder import CALIBRATION_FILE, CERTIFICATE_FILE
from index.copies.calibration import (
    SameImageCalibration,
    calibrate_same_image,
    like_planted,
    restored,
)
from index.copies.certificate import Certificate, certify
from index.copies.false_alarms import NonMatches
from index.copies.false_alarms import restored as restored_law
from index.copies.trials import (
    edit_of,
    independent_scores,
    plant_copies,
    sample_ids,
    sources_only,
)
from index.settings import LeakSettings, RegistrationSettings
from index.siblings.calibration import SiblingCalibration, restored_sibling

if TYPE_CHECKING:  # it loads torch, which takes seconds
    from atlas.workflows.leaks.search import LeakSearch

LOGGER = logging.getLogger(__name__)
SUSPECTED_FILE = "suspected_copies.csv"
PAIR = ["query_id", "match_id"]


@dataclass(frozen=True, kw_only=True)
class SameImageMeasurement:
    """The calibration of copies, and the measurements behind it.

    Attributes:
        calibration: The calibration.
        planted_recall: The recall of planted copies, by edit.
        candidate_recall: The share of planted copies whose source is a candidate, by edit.
        natural: The registration score of each sampled image's nearest non-match.
        behind: The score of the best other candidate of the images whose nearest non-match scores
            like planted copies, see `measured_tail`.
        independent_U: The same scores as independent trials, the highest first.
        suspected: The pairs of labelled images that reach the threshold (query_id, match_id,
            registration_score).
    """

    calibration: SameImageCalibration
    planted_recall: dict[str, float]
    candidate_recall: dict[str, float]
    natural: NDArray[np.float64]
    behind: NDArray[np.float64]
    independent_U: NDArray[np.float64]
    suspected: pd.DataFrame

    @property
    def counted_U(self) -> NDArray[np.float64]:
        """The independent trials that count; in an index that has grown, these are fewer."""
        return self.independent_U[: self.calibration.guarantee.unknown_count]

    @property
    def recall_in_words(self) -> str:
        """How planted copies were proposed and found, with the hardest edits, in a sentence."""
        return (
            f"the source of a planted copy is a candidate in {_least(self.candidate_recall)}; the "
            f"copy reaches the threshold in {_least(self.planted_recall)}"
        )


def _least(recall: Mapping[str, float]) -> str:
    edit, share = min(recall.items(), key=lambda item: item[1])
    if share == 1:
        return "all cases"
    return f"at least {share:.0%} of the cases of each edit (fewest: {edit})"


@dataclass(frozen=True, kw_only=True)
class LeakCalibration:
    """The calibration of copies and siblings.

    Attributes:
        same_image: The calibration of copies.
        sibling: The calibration of siblings.
        settings: The requested precision and recall.
        registration: The settings of the registration.
        law: How images of the atlas agree that are no copies.
        embedder: The fingerprint of the embedder of the index.
        further_embedders: The fingerprints of the embedders of further indexes.
        references: The number of references with which the scores were measured.
        identities: The number of their identities; an image without one counts as one.
    """

    same_image: SameImageMeasurement
    sibling: SiblingCalibration
    settings: LeakSettings
    registration: RegistrationSettings
    law: NonMatches
    embedder: str
    further_embedders: tuple[str, ...]
    references: int
    identities: int

    def unproven(self, certificate: Certificate) -> frozenset[str]:
        """Return the relations whose precision is neither shown nor accepted without that.

        The precision of copies is shown by the guarantee for the stated share or by the certificate
        of the claims.
        """
        same_image, settings = self.same_image.calibration.guarantee, self.settings
        accepted = {
            SAME_IMAGE: (same_image.reached and not certificate.unlike)
            or certificate.reached
            or settings.accept_unproven_copies,
            SIBLING: self.sibling.proven or settings.accept_unproven_siblings,
        }
        return frozenset(relation for relation, fine in accepted.items() if not fine)

    def certificate(self, best_N: NDArray[np.float64], *, claims: int) -> Certificate:
        """Return how many claims of copies on test images can be false.

        Args:
            best_N: The registration score of each test image's best candidate.
            claims: The number of claims, without those of equal pixels.
        """
        measured = self.same_image
        return certify(
            asked=self.settings.copy_precision,
            claims=claims,
            best_N=best_N,
            natural=measured.natural,
            independent_U=measured.counted_U,
            threshold=measured.calibration.threshold,
            images_of_identity=self.references / self.identities,
        )

    def for_gallery(self, search: "LeakSearch") -> "LeakCalibration":
        """Return the calibration for an index that has grown since it was measured.

        The more references there are, the more queries have a non-match that reaches a score: at
        most as many times more as the gallery is larger. Siblings are measured again; the
        comparisons of their pixels are kept, so this is quick.
        """
        references = len(search.index.ids)
        growth = references / self.references
        if growth <= 1:
            return self
        LOGGER.info(
            f"the index has {references:,} images, and was calibrated with {self.references:,}: "
            f"false claims of copies are taken to be {growth:.2f} times as frequent; run "
            f"{Stage.LEAKS.command} to measure them again"
        )
        measured = self.same_image
        same_image = calibrate_same_image(
            np.array(measured.calibration.planted),
            measured.natural,
            measured.independent_U,
            self.settings,
            candidates=measured.calibration.false_claims.candidates,
            behind=measured.behind,
            growth=growth,
        )
        return replace(
            self,
            same_image=replace(measured, calibration=same_image),
            sibling=measure_siblings(
                search,
                inherited_identities(search.index.identities, measured.suspected),
                same_image.threshold,
            ),
        )


def calibrate(search: "LeakSearch") -> LeakCalibration:
    """Measure both relations on the labelled images of the index."""
    log_best_precision(search)
    units = _units(search)
    same_image = measure_same_image(search)
    identities = inherited_identities(search.index.identities, same_image.suspected)
    return LeakCalibration(
        same_image=same_image,
        sibling=measure_siblings(search, identities, same_image.calibration.threshold),
        settings=search.settings,
        registration=search.registration,
        law=search.law,
        embedder=search.embedder.maker,
        further_embedders=search.further_makers,
        references=len(units),
        identities=len(set(units.values())),
    )


def _units(search: "LeakSearch") -> dict[str, str]:
    """Return what images can fail together with, by id: their identity, or else only themselves."""
    return {i: name or i for i, name in search.index.identities.items()}


def measure_same_image(search: "LeakSearch") -> SameImageMeasurement:
    """Plant copies of the atlas's own images, and compare its images with one another."""
    settings, ids = search.settings, search.index.ids
    copies = plant_copies(
        ids,
        search.stored("sources"),
        channels=len(search.index.spec.channels),
        count=settings.planted_copies,
        seed=settings.seed,
    )
    found = search.candidates(search.embedded(copies.ids, copies.images), copies.images)
    sources = sources_only(found)
    planted = search.registrations(sources, copies.images).scores_NK[:, 0].astype(float)
    sample = sample_ids(ids, count=settings.natural_queries, seed=settings.seed)
    nearest = search.candidates(
        search.index.embeddings.aligned_to(sample), search.stored("labelled images")
    )
    pairs = search.registrations(nearest, search.stored("distinct pairs")).scores_NK.astype(float)
    # Equal pixels are certain copies, so they are not non-matches.
    others = np.where(search.equal(nearest), -1.0, pairs)
    best = others.argmax(axis=1)
    rows = np.flatnonzero(others.max(axis=1) > -1.0)
    natural, units = others[rows, best[rows]], _units(search)
    behind = _behind_copies(others[rows], like_planted(planted, settings))
    independent_U = independent_scores(
        natural,
        [units[sample[n]] for n in rows],
        [units[i] for i in nearest.reference_ids_NK[rows, best[rows]]],
        units=len(set(units.values())),
        seed=settings.seed,
    )
    calibration = calibrate_same_image(
        planted, natural, independent_U, settings,
        candidates=nearest.reference_ids_NK.shape[1], behind=behind,
    )  # fmt: skip
    edits = [edit_of(i) for i in copies.ids]
    return SameImageMeasurement(
        calibration=calibration,
        planted_recall=_shares(planted >= calibration.threshold, edits),
        candidate_recall=_shares(sources.reference_ids_NK[:, 0] != "", edits),
        natural=natural,
        behind=behind,
        independent_U=independent_U,
        suspected=_suspected(nearest, pairs, calibration.threshold),
    )


def _behind_copies(scores_NK: NDArray[np.float64], like_copies: float) -> NDArray[np.float64]:
    """Return the best score below `like_copies` of the images that have a candidate above it."""
    alike_NK = scores_NK >= like_copies
    best_N = np.where(alike_NK, -1.0, scores_NK).max(axis=1)
    return np.asarray(best_N[alike_NK.any(axis=1)])


def _shares(reached: NDArray[np.bool_], edits: Sequence[str]) -> dict[str, float]:
    by_edit = pd.Series(reached, index=list(edits)).groupby(level=0).mean()
    return {str(edit): float(share) for edit, share in by_edit.items()}


def save_calibration(folder: Path, calibration: LeakCalibration) -> None:
    """Write calibration.json and suspected_copies.csv.

    Further indexes are named by their paths from the folder of the run.
    """
    same_image, run = calibration.same_image, folder.resolve().parent
    further = (os.path.relpath(Path(name).resolve(), run) for name in
               calibration.settings.further_indexes)  # fmt: skip
    about = {
        SAME_IMAGE: same_image.calibration,
        SIBLING: calibration.sibling,
        "planted_recall": same_image.planted_recall,
        "candidate_recall": same_image.candidate_recall,
        "natural": same_image.natural,
        "behind": same_image.behind,
        "independent": same_image.independent_U,
        "settings": replace(calibration.settings, further_indexes=tuple(further)),
        "registration": calibration.registration,
        "law": calibration.law,
        "embedder": calibration.embedder,
        "further_embedders": calibration.further_embedders,
        "references": calibration.references,
        "identities": calibration.identities,
    }
    write_json(folder / CALIBRATION_FILE, about)
    save_table(folder / SUSPECTED_FILE, same_image.suspected)


def load_calibration(folder: Path) -> LeakCalibration:
    """Read what `save_calibration` wrote.

    Raises:
        MissingStageError: There is no calibration.
        DamagedFileError: The file is damaged, or was written by another version.
    """
    path, run = folder / CALIBRATION_FILE, folder.resolve().parent
    stored = read_json(path, stage=Stage.LEAKS)
    suspected = load_table(folder / SUSPECTED_FILE, stage=Stage.LEAKS)
    with understood(path, Stage.LEAKS):
        return LeakCalibration(
            same_image=SameImageMeasurement(
                calibration=SameImageCalibration(**restored(stored[SAME_IMAGE])),
                planted_recall=stored["planted_recall"],
                candidate_recall=stored["candidate_recall"],
                natural=np.array(stored["natural"], float),
                behind=np.array(stored["behind"], float),
                independent_U=np.array(stored["independent"], float),
                suspected=suspected,
            ),
            sibling=restored_sibling(stored[SIBLING]),
            settings=LeakSettings(
                **{
                    **stored["settings"],
                    "further_indexes": tuple(
                        os.path.normpath(run / name)
                        for name in stored["settings"]["further_indexes"]
                    ),
                }
            ),
            registration=RegistrationSettings(**restored(stored["registration"])),
            law=restored_law(stored["law"]),
            embedder=stored["embedder"],
            further_embedders=tuple(stored["further_embedders"]),
            references=int(stored["references"]),
            identities=int(stored["identities"]),
        )


def save_certificate(folder: Path, certificate: Certificate) -> None:
    """Write certificate.json."""
    write_json(folder / CERTIFICATE_FILE, certificate)


def load_certificate(folder: Path) -> Certificate:
    """Read what `save_certificate` wrote.

    Raises:
        MissingStageError: There is no certificate.
        DamagedFileError: The file is damaged, or was written by another version.
    """
    path = folder / CERTIFICATE_FILE
    stored = read_json(path, stage=Stage.LEAKS)
    with understood(path, Stage.LEAKS):
        return Certificate(**stored)


def _suspected(nearest: Neighbours, pairs: NDArray[np.float64], threshold: float) -> pd.DataFrame:
    """Return the pairs of the atlas's own images that reach the threshold, best first."""
    rows, columns = np.nonzero(pairs >= threshold)
    ids = [
        tuple(sorted((nearest.query_ids[n], str(nearest.reference_ids_NK[n, k]))))
        for n, k in zip(rows, columns, strict=True)
    ]
    table = pd.DataFrame(ids, columns=PAIR).assign(registration_score=pairs[rows, columns])
    table = table.sort_values(["registration_score", *PAIR], ascending=[False, True, True])
    return table.drop_duplicates(PAIR).reset_index(drop=True)
