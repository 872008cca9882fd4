"""What people review: claims by the scores alone, likely copies, labels, and groups of copies."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from atlas.core.errors import MissingStageError, Stage
from atlas.core.files import content_hash
from atlas.core.result_files import was_written
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import LEAK_COLUMNS, SIBLING, LeakReport, load_table
from atlas.dataset.image_keys import keys_of
from atlas.dataset.labels import parse_labels
from atlas.dataset.manifest import Manifest, read_files, read_labels
from atlas.dataset.spec import AtlasSpec
from atlas.workflows.curate.label_audit import AUDIT_FILE
from atlas.workflows.explain.run_so_far import RunSoFar, read_run
from atlas.workflows.leaks.calibration import LeakCalibration
from atlas.workflows.leaks.verdicts import CurrentClaims
from atlas.workflows.made_from import images_of_leaks, require_same_images
from atlas.workflows.review.groups import GroupToReview, groups_of, has_groups, read_copies
from atlas.workflows.run_folder import RunFolder
from index.claims.likely_copies import likely_copies
from index.settings import PROBABLE

LOGGER = logging.getLogger(__name__)
AUDIT_FOLDER = "audit"

Labels = tuple[int, ...]
Row = Mapping[Hashable, Any]


@dataclass(frozen=True, kw_only=True)
class PairToReview:
    """A test image and the labelled image that it may be a copy or a sibling of.

    Attributes:
        kind: A claim, or a likely copy, whose score is below the threshold.
        query_id, match_id: The ids of the images.
        relation: The relation.
        similarity: The similarity of the embeddings.
        registration_score: The registration score.
        sibling_score: The sibling score, or None for copies.
        confidence: The confidence.
        decision: "transfer" or "abstain".
        reason: The reason for the decision.
        labels: The labels of the match.
        before: The labels that the classifier alone gives, or None without a submission.
        gain: The absolute expected gain of the transfer; 1 without a submission.
    """

    kind: Literal["claim", "likely"]
    query_id: str
    match_id: str
    relation: str
    similarity: float
    registration_score: float
    sibling_score: float | None
    confidence: float
    decision: str
    reason: str
    labels: Labels
    before: Labels | None
    gain: float

    @property
    def name(self) -> str:
        """The name of the pair in addresses; equal pairs of two runs have equal names."""
        return content_hash("pair", self.query_id, self.match_id)[:16]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the images."""
        return (self.query_id, self.match_id)

    @property
    def usefulness(self) -> float:
        """How useful a verdict is: the gain, times 1 if both answers are equally probable."""
        return self.gain * _doubt(self.confidence)


@dataclass(frozen=True, kw_only=True)
class LabelsToReview:
    """A labelled image whose labels its neighbours contradict.

    Attributes:
        image_id: The id of the image.
        labels: Its labels.
        suggested: The labels that the audit suggests.
        suspicion: The probability that a label is wrong.
        reason: The reason to doubt.
    """

    image_id: str
    labels: Labels
    suggested: Labels
    suspicion: float
    reason: str

    @property
    def name(self) -> str:
        """The name in addresses."""
        return content_hash("labels", self.image_id)[:16]

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of the image."""
        return (self.image_id,)

    @property
    def usefulness(self) -> float:
        """How useful a verdict is: the suspicion, as the most suspicious labels are wrong."""
        return self.suspicion


Item = PairToReview | LabelsToReview | GroupToReview
Reviewed = TypeVar("Reviewed", PairToReview, LabelsToReview)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Everything in a run that people can review.

    Attributes:
        run: The run folder.
        data: The atlas folder.
        spec: The description of the atlas.
        pairs: Claims and likely copies.
        labels: Suspicious labels, the most suspicious first.
        groups: Groups of copies among the labelled images.
        manifest: The images of all of these.
        key_of: The key of each of these images, by id, see `image_keys.py`.
        by_scores: All claims that the scores alone make, also of images without a file.
        calibration: The calibration of the claims, or None if the run has no leaks.
        size_px: The side of the images that were compared, or 0 if the run has no leaks.
    """

    run: RunFolder
    data: Path
    spec: AtlasSpec
    pairs: tuple[PairToReview, ...]
    labels: tuple[LabelsToReview, ...]
    groups: tuple[GroupToReview, ...]
    manifest: Manifest
    key_of: Mapping[str, str]
    by_scores: LeakReport
    calibration: LeakCalibration | None
    size_px: int

    @cached_property
    def items(self) -> dict[str, Item]:
        """Everything by name."""
        items: list[Item] = [*self.pairs, *self.labels, *self.groups]
        return {one.name: one for one in items}

    def keys(self, item: Item) -> tuple[str, ...]:
        """Return the keys of the images of an item."""
        return tuple(self.key_of[image_id] for image_id in item.ids)


def read_queue(run: Path, data: Path) -> Queue:
    """Read what can be reviewed in a run.

    Args:
        run: The run folder. It needs leaks or duplicates; a submission and an audit of labels may
            be there, too.
        data: The atlas folder.

    Raises:
        MissingStageError: The run has neither leaks nor duplicates.
        ProvenanceError: An image has changed since the leaks were found.
        UserError: The atlas or the run has problems.
    """
    folder = RunFolder(run)
    if not has_groups(folder.duplicates) or folder.has(Stage.LEAKS):
        for stage, path in ((Stage.LEAKS, folder.leaks), (Stage.INDEX, folder.index)):
            if not folder.has(stage):
                raise MissingStageError(path, stage=stage)
    claimed = _claimed(data, run) if folder.has(Stage.LEAKS) else NOTHING_CLAIMED
    labels = _suspicious(folder, read_labels(data))
    copies = read_copies(folder.duplicates)
    reviewed: list[PairToReview | LabelsToReview] = [*claimed.pairs, *labels]
    shown = {image_id for one in reviewed for image_id in one.ids} | {row["id"] for row in copies}
    files = read_files(data)
    manifest = replace(files, rows=tuple(row for row in files.rows if row.id in shown))
    keys = keys_of(manifest, cache_folder(folder.leaks))
    if claimed.calibration:
        require_same_images(keys, images_of_leaks(folder.leaks, keys, claimed.test_ids))
    there = set(keys)
    return Queue(
        run=folder,
        data=data,
        spec=manifest.spec,
        pairs=_with_images(claimed.pairs, there),
        labels=_with_images(labels, there),
        groups=groups_of(copies, folder.duplicates, manifest, keys),
        manifest=manifest,
        key_of=keys,
        by_scores=claimed.by_scores,
        calibration=claimed.calibration,
        size_px=claimed.size_px,
    )


@dataclass(frozen=True, kw_only=True)
class _Claimed:
    """What a run claims about test images."""

    pairs: tuple[PairToReview, ...] = ()
    by_scores: LeakReport
    calibration: LeakCalibration | None = None
    size_px: int = 0
    test_ids: tuple[str, ...] = ()


NOTHING_CLAIMED = _Claimed(by_scores=LeakReport(table=pd.DataFrame(columns=list(LEAK_COLUMNS))))


def _claimed(data: Path, run: Path) -> _Claimed:
    so_far = read_run(data, run)
    assert so_far.index is not None
    assert so_far.leaks is not None
    current = so_far.leaks.current
    claims = current.by_scores.table
    # Claims about test images that were removed since are no part of the review.
    by_scores = LeakReport(table=claims[claims["Id"].isin(set(so_far.test_ids))])
    return _Claimed(
        pairs=_pairs(so_far, current, by_scores),
        by_scores=by_scores,
        calibration=current.calibration,
        size_px=so_far.index.image_size_px,
        test_ids=so_far.test_ids,
    )


def _with_images(items: Sequence[Reviewed], there: set[str]) -> tuple[Reviewed, ...]:
    kept = tuple(one for one in items if there.issuperset(one.ids))
    if len(kept) < len(items):
        LOGGER.warning(
            f"{len(items) - len(kept)} of the things to review lack an image file and are left out"
        )
    return kept


def _pairs(run: RunSoFar, current: CurrentClaims, claims: LeakReport) -> tuple[PairToReview, ...]:
    """Return the best claim of each test image by its scores alone, and the likely copies."""
    likely = likely_copies(
        current.known.table, claimed=set(claims.table["Id"]), tests=run.test_ids,
        labels=run.labels, channels=run.spec.channels,
        same_image=current.calibration.same_image.calibration,
    )  # fmt: skip
    gains = _gains(run)
    return (
        *(_pair(row, "claim", run, gains) for row in claims.table.to_dict("records")),
        *(_pair(row, "likely", run, gains) for row in likely.to_dict("records")),
    )


def _pair(
    row: Row, kind: Literal["claim", "likely"], run: RunSoFar, gains: Mapping[str, float]
) -> PairToReview:
    query_id = str(row["Id"])
    submitted = run.submitted.row_of.get(query_id) if run.submitted else None
    return PairToReview(
        kind=kind,
        query_id=query_id,
        match_id=str(row["match_id"]),
        relation=row["relation"],
        similarity=float(row["similarity"]),
        registration_score=float(row["registration_score"]),
        sibling_score=float(row["sibling_score"]) if row["relation"] == SIBLING else None,
        confidence=float(row["confidence"]),
        decision=row["decision"],
        reason=row["reason"],
        labels=parse_labels(row["labels"]),
        before=parse_labels(submitted["without"]) if submitted else None,
        gain=gains.get(query_id, gains[""]),
    )


def _gains(run: RunSoFar) -> dict[str, float]:
    """Return the absolute expected gain of each test image; that of "" holds for all others."""
    if run.submitted is None:
        return {"": 1.0}
    gains = {i: abs(float(row["expected_gain"])) for i, row in run.submitted.row_of.items()}
    known = {i: gain for i, gain in gains.items() if not np.isnan(gain)}
    # The gain of a claim that abstains is unknown; it is not less useful to look at.
    return known | {"": float(np.median(list(known.values()))) if known else 1.0}


def _suspicious(run: RunFolder, labels: Mapping[str, Labels]) -> tuple[LabelsToReview, ...]:
    """Return the labelled images whose labels are more probably wrong than right."""
    path = run.path / AUDIT_FOLDER / AUDIT_FILE
    if not was_written(path):
        return ()
    table = load_table(path)
    found = [
        LabelsToReview(
            image_id=row["Id"],
            labels=parse_labels(row["labels"]),
            suggested=parse_labels(row["suggested"]),
            suspicion=float(row["suspicion"]),
            reason=row["reason"],
        )
        for row in table.to_dict("records")
        if row["Id"] in labels
    ]
    return tuple(one for one in found if one.suspicion > PROBABLE)


def _doubt(confidence: float) -> float:
    """Return 4 p (1 - p): 1 for a coin toss, 0 for certainty."""
    return 4 * confidence * (1 - confidence)
