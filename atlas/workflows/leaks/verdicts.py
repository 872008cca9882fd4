"""The claims of a run as they stand: those that were found, after what people have said since."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from atlas.core.errors import Stage
from atlas.core.files import write_json
from atlas.core.result_files import read_json, was_written
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import (
    SAME_IMAGE,
    SIBLING,
    EmbeddingSet,
    LeakReport,
    Matches,
    load_leaks,
    load_matches,
    load_table,
)
from atlas.dataset.image_keys import keys_in
from atlas.dataset.manifest import Manifest, read_tables
from atlas.dataset.verdicts import (
    NOTHING_JUDGED,
    Judged,
    Verdicts,
    read_verdicts,
    verdicts_beside,
)
from atlas.workflows.leaks.calibration import LeakCalibration, load_calibration, load_certificate
from atlas.workflows.leaks.siblings import FoundSiblings, inherited_identities
from atlas.workflows.run_folder import LEAKS_FILE, MATCHES_FILE, SIBLINGS_FILE, SOURCE_FILE
from index.claims.leaks import SiblingOf, find_leaks
from index.claims.verdicts import accepted_references, certified_by_review, with_verdicts
from index.copies.candidates import Candidates, with_pairs
from index.copies.certificate import Certificate
from index.settings import LeakSettings

LOGGER = logging.getLogger(__name__)


def judged_images(verdicts: Verdicts, key_of: Mapping[str, str]) -> Judged:
    """Return what people have said about images with these keys, by id."""
    judged = verdicts.judged(key_of)
    if judged.stale:
        LOGGER.warning(
            f"{judged.stale:,} verdicts are about images that are no longer there or have changed; "
            "they do not count"
        )
    return judged


def with_accepted(
    found: Candidates, judged: Judged, queries: EmbeddingSet, references: EmbeddingSet
) -> Candidates:
    """Return candidates that include all pairs that people have accepted."""
    accepted = accepted_references(judged, queries.ids, references.ids)
    return with_pairs(found, accepted, queries, references) if accepted else found


def shown_by_review(
    by_scores: LeakReport, judged: Judged, settings: LeakSettings
) -> frozenset[str]:
    """Return the relations whose precision the verdicts on a random sample of claims show.

    Args:
        by_scores: The claims by the scores alone, before any verdict.
        judged: The verdicts.
        settings: The precision that is asked for, and the error rate of reviewers.
    """
    asked = {SAME_IMAGE: settings.copy_precision, SIBLING: settings.sibling_precision}
    found = {
        relation: certified_by_review(
            by_scores, relation, judged, error_rate=settings.reviewer_error
        )
        for relation in asked
    }
    for relation, certificate in found.items():
        if certificate.looked_at:
            LOGGER.info(f"{relation}: {certificate.in_words()}")
    return frozenset(
        relation for relation, shown in found.items() if shown.precision_of_rest >= asked[relation]
    )


def save_source(folder: Path, table_hash: str, verdicts: Verdicts) -> None:
    """Write made_from.json: the tables and verdicts that claims were made from."""
    write_json(folder / SOURCE_FILE, {"labelled_tables": table_hash, "verdicts": verdicts.hash})


def judged_claims(
    matches: Matches,
    judged: Judged,
    calibration: LeakCalibration,
    certificate: Certificate,
    *,
    identities: Mapping[str, str | None],
    labels: Mapping[str, tuple[int, ...]],
    channels: Sequence[str],
    siblings: Mapping[str, SiblingOf],
) -> LeakReport:
    """Return the claims about test images after the verdicts.

    Args:
        matches: The examined pairs of test images with labelled ones, by the scores alone.
        judged: The verdicts.
        calibration: The calibration.
        certificate: The certificate of the copies.
        identities: The identity of each labelled image.
        labels: The labels of each labelled image.
        channels: The names of the channels.
        siblings: The identity that fits each test image best.
    """
    claims = partial(
        find_leaks, labels=labels, channels=channels, siblings=siblings,
        least_confidence=calibration.settings.least_confidence,
    )  # fmt: skip
    unproven = calibration.unproven(certificate)
    if not judged.pairs:
        return claims(matches, unproven=unproven)
    shown = shown_by_review(claims(matches), judged, calibration.settings)
    after = with_verdicts(matches, judged, identities)
    return claims(after, unproven=unproven - shown, judged=judged)


@dataclass(frozen=True, kw_only=True)
class CurrentClaims:
    """The claims in a folder, after all verdicts that have been given up to now.

    Attributes:
        data: The atlas folder.
        folder: The folder of the leaks. Claims that `find_leaks` did not write stay as they are.
    """

    data: Path
    folder: Path

    @cached_property
    def verdicts(self) -> Verdicts:
        """All that people have said in this run."""
        return read_verdicts(verdicts_beside(self.folder))

    @cached_property
    def calibration(self) -> LeakCalibration:
        """The thresholds and guarantees."""
        return load_calibration(self.folder)

    @cached_property
    def certificate(self) -> Certificate:
        """How many of the claims of copies can be false."""
        return load_certificate(self.folder)

    @cached_property
    def scored(self) -> Matches:
        """The examined pairs as the scores alone claim them.

        Raises:
            MissingStageError: There are no leaks.
        """
        return load_matches(self.folder / MATCHES_FILE, stage=Stage.LEAKS)

    @cached_property
    def known(self) -> Matches:
        """The pairs of test images with labelled ones among these."""
        table = self.scored.table
        labelled = table["match_id"].isin(list(self._labels))
        return Matches(table=table[table["query_split"].eq("test") & labelled])

    @cached_property
    def by_scores(self) -> LeakReport:
        """The claims that the scores alone make, before any verdict."""
        return self._claims(NOTHING_JUDGED)

    @cached_property
    def matches(self) -> Matches:
        """The examined pairs after the verdicts.

        Raises:
            MissingStageError: There are no leaks.
        """
        if not self.verdicts.verdicts:
            return self.scored
        return with_verdicts(self.scored, self._judged, self._identities)

    @cached_property
    def leaks(self) -> LeakReport:
        """The claims after the verdicts.

        Raises:
            MissingStageError: There are no leaks.
        """
        found = load_leaks(self.folder / LEAKS_FILE, stage=Stage.LEAKS)
        source = self.folder / SOURCE_FILE
        if not was_written(source):
            return found
        if read_json(source, stage=Stage.LEAKS).get("verdicts", "") == self.verdicts.hash:
            return found
        return self._claims(self._judged)

    def _claims(self, judged: Judged) -> LeakReport:
        siblings = load_table(self.folder / SIBLINGS_FILE, stage=Stage.LEAKS)
        return judged_claims(
            self.known, judged, self.calibration, self.certificate, identities=self._identities,
            labels=self._labels, channels=self._labelled.spec.channels,
            siblings=FoundSiblings(table=siblings).best,
        )  # fmt: skip

    @cached_property
    def _labels(self) -> dict[str, tuple[int, ...]]:
        return {row.id: row.labels or () for row in self._labelled.rows}

    @cached_property
    def _labelled(self) -> Manifest:
        return read_tables(self.data).labelled

    @cached_property
    def _identities(self) -> dict[str, str | None]:
        own = {row.id: row.identity for row in self._labelled.rows}
        return inherited_identities(own, self.calibration.same_image.suspected)

    @cached_property
    def _judged(self) -> Judged:
        return judged_images(self.verdicts, keys_in(self.data, cache_folder(self.folder)))
