"""The claims of a run as they stand: those that were found, after what people have said since."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from atlas.core.errors import Stage
from atlas.core.files import write_json
from atlas.core.result_files import read_json, was_written
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import LeakReport, Matches, load_leaks, load_matches, load_table
from atlas.dataset.image_keys import keys_in
from atlas.dataset.manifest import Manifest, read_tables
from atlas.dataset.verdicts import Judged, Verdicts, read_verdicts, verdicts_beside
from atlas.workflows.leaks.calibration import LeakCalibration, load_calibration, load_certificate
from atlas.workflows.leaks.siblings import FoundSiblings, inherited_identities
from atlas.workflows.run_folder import LEAKS_FILE, MATCHES_FILE, SIBLINGS_FILE, SOURCE_FILE
from index.claims.leaks import find_leaks
from index.claims.verdicts import with_verdicts

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


def save_source(folder: Path, table_hash: str, verdicts: Verdicts) -> None:
    """Write made_from.json: the tables and verdicts that claims were made from."""
    write_json(folder / SOURCE_FILE, {"labelled_tables": table_hash, "verdicts": verdicts.hash})


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
    def matches(self) -> Matches:
        """The examined pairs after the verdicts.

        Raises:
            MissingStageError: There are no leaks.
        """
        found = load_matches(self.folder / MATCHES_FILE, stage=Stage.LEAKS)
        if not self.verdicts.verdicts:
            return found
        return with_verdicts(found, self._judged, self._identities)

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
        labels = {row.id: row.labels or () for row in self._labelled.rows}
        table = self.matches.table
        known = table[table["query_split"].eq("test") & table["match_id"].isin(list(labels))]
        siblings = load_table(self.folder / SIBLINGS_FILE, stage=Stage.LEAKS)
        return find_leaks(
            Matches(table=known),
            labels=labels, channels=self._labelled.spec.channels,
            siblings=FoundSiblings(table=siblings).best,
            unproven=self._calibration.unproven(load_certificate(self.folder)),
            least_confidence=self._calibration.settings.least_confidence, judged=self._judged,
        )  # fmt: skip

    @cached_property
    def _calibration(self) -> LeakCalibration:
        return load_calibration(self.folder)

    @cached_property
    def _labelled(self) -> Manifest:
        return read_tables(self.data).labelled

    @cached_property
    def _identities(self) -> dict[str, str | None]:
        own = {row.id: row.identity for row in self._labelled.rows}
        return inherited_identities(own, self._calibration.same_image.suspected)

    @cached_property
    def _judged(self) -> Judged:
        return judged_images(self.verdicts, keys_in(self.data, cache_folder(self.folder)))
