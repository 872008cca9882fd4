"""What an export says: the images of an atlas with their labels, claims and verdicts."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atlas.core.errors import ProvenanceError, Stage
from atlas.core.result_files import was_written
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import load_table
from atlas.dataset.image_keys import keys_of
from atlas.dataset.labels import parse_labels
from atlas.dataset.manifest import ImageRow, Manifest, read_manifest
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.verdicts import Judged, Verdicts, read_verdicts, verdicts_beside
from atlas.workflows.leaks.verdicts import CurrentClaims
from atlas.workflows.made_from import images_of_leaks, require_same_images, require_searched
from atlas.workflows.run_folder import ORIGINS_FILE, SUBMISSION_FILE, RunFolder

TABLE, CORRECTION = "table", "correction"  # origins of labels beside those of a submission


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim as it stands, with the columns of leaks.csv, which docs/formats.md explains.

    Attributes:
        verdict: What people say about the pair as it stands, or "".
    """

    match_id: str
    relation: str
    similarity: float | None
    registration_score: float | None
    sibling_score: float | None
    confidence: float | None
    labels: tuple[int, ...]
    decision: str
    reason: str
    verdict: str


@dataclass(frozen=True, kw_only=True)
class ExportedImage:
    """An image with everything that is said about it.

    Attributes:
        row: The image and its files.
        labels: Its labels, or None if they are not known.
        origin: Where the labels come from: "table", "correction", or the origin of the row of the
            submission. It is "" without labels.
        claim: The claim about a test image, or None.
        verdicts: What people say about its pairs as it stands, by the id of the other image.
    """

    row: ImageRow
    labels: tuple[int, ...] | None
    origin: str
    claim: Claim | None
    verdicts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Content:
    """What an export says.

    Attributes:
        spec: The channels and labels of the atlas.
        images: The images in the order of the tables.
        keys: The key of each image now, by id.
        said: All rows of the file of verdicts.
        stale: The number of verdicts and corrections about images that are not there, or show
            something else now.
        submitted: Whether the run has a submission.
    """

    spec: AtlasSpec
    images: tuple[ExportedImage, ...]
    keys: Mapping[str, str]
    said: Verdicts
    stale: int
    submitted: bool

    @property
    def of_claims(self) -> "Content":
        """The same without images that take part in no claim and in no verdict."""
        claimed = {one.claim.match_id for one in self.images if one.claim}
        kept = tuple(
            one for one in self.images if one.claim or one.verdicts or one.row.id in claimed
        )
        return replace(self, images=kept)

    @property
    def claims(self) -> int:
        """The number of claims."""
        return sum(one.claim is not None for one in self.images)

    @property
    def pairs(self) -> int:
        """The number of pairs on which a verdict stands."""
        return sum(len(one.verdicts) for one in self.images) // 2

    def names_of(self, labels: tuple[int, ...]) -> list[str]:
        """Return the names of labels."""
        return [self.spec.labels[label] for label in labels]


def read_content(data: Path, run: Path) -> Content:
    """Return what an export of a run says.

    Raises:
        MissingStageError: The run has no leaks.
        DataError: The data folder has problems.
        ProvenanceError: The claims or the submission belong to other images.
    """
    folder = RunFolder(run)
    leaks = CurrentClaims(data=data, folder=folder.leaks).leaks.table
    manifest = read_manifest(data)
    keys = keys_of(manifest, cache_folder(folder.leaks))
    _require_same(manifest, folder, keys, {*leaks["Id"], *leaks["match_id"]})
    said = read_verdicts(verdicts_beside(folder.leaks))
    judged = said.judged(keys)
    claim_of = {str(row["Id"]): _claim(row, judged) for row in leaks.to_dict("records")}
    submitted = _submitted(folder, manifest.of("test").ids)
    images = _images(manifest, claim_of, submitted, judged)
    return Content(
        spec=manifest.spec,
        images=tuple(images),
        keys=keys,
        said=said,
        stale=judged.stale,
        submitted=bool(submitted),
    )


def _images(
    manifest: Manifest,
    claim_of: Mapping[str, Claim],
    submitted: Mapping[str, tuple[str, tuple[int, ...]]],
    judged: Judged,
) -> Iterator[ExportedImage]:
    verdicts: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for (one, other), verdict in sorted(judged.pairs.items()):
        verdicts[one][other] = verdicts[other][one] = verdict
    for row in manifest.rows:
        origin, labels = submitted.get(row.id, ("", None))
        if row.labels is not None:
            origin, labels = TABLE, row.labels
        if row.id in judged.labels:
            origin, labels = CORRECTION, judged.labels[row.id]
        yield ExportedImage(
            row=row,
            labels=labels,
            origin=origin,
            claim=claim_of.get(row.id),
            verdicts=verdicts.get(row.id, {}),
        )


def _claim(row: Mapping[Any, Any], judged: Judged) -> Claim:
    def number(column: str) -> float | None:
        return None if row[column] != row[column] else float(row[column])  # only NaN differs

    match_id = str(row["match_id"])
    return Claim(
        match_id=match_id,
        relation=str(row["relation"]),
        similarity=number("similarity"),
        registration_score=number("registration_score"),
        sibling_score=number("sibling_score"),
        confidence=number("confidence"),
        labels=parse_labels(row["labels"]),
        decision=str(row["decision"]),
        reason=str(row["reason"]),
        verdict=judged.of(str(row["Id"]), match_id) or "",
    )


def _submitted(
    folder: RunFolder, test_ids: tuple[str, ...]
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the origin and the labels of each test image, or nothing without a submission.

    Raises:
        ProvenanceError: The submission has other test images.
    """
    path = folder.submission / SUBMISSION_FILE
    if not was_written(path):
        return {}
    rows = load_table(path, stage=Stage.SUBMISSION)
    origins = load_table(folder.submission / ORIGINS_FILE, stage=Stage.SUBMISSION)
    origin_of = dict(zip(origins["Id"], origins["origin"], strict=True))
    if other := set(test_ids) ^ set(rows["Id"]):
        raise ProvenanceError(
            f"the test image {min(other)} was added or removed after {folder.submission} was "
            f"written; run {Stage.SUBMISSION.command} again"
        )
    return {
        i: (origin_of[i], parse_labels(labels))
        for i, labels in zip(rows["Id"], rows["Predicted"], strict=True)
    }


def _require_same(
    manifest: Manifest, folder: RunFolder, keys: Mapping[str, str], claimed: set[str]
) -> None:
    """Check that claims were made from the images as they are now.

    Raises:
        ProvenanceError: An image was changed, added or removed since then.
    """
    test_ids = manifest.of("test").ids
    leaks = images_of_leaks(folder.leaks, keys, test_ids)
    require_same_images(keys, leaks)
    require_searched(leaks, test_ids)
    if removed := claimed - set(manifest.ids):
        raise ProvenanceError(
            f"the image {min(removed)} was removed after {folder.leaks} was written; run "
            f"{Stage.INDEX.command} and {Stage.LEAKS.command} again"
        )
