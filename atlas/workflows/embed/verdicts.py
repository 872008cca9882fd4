"""Verdicts on queries: whether they are known, by the thresholds that find_leaks measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atlas.core.errors import Stage
from atlas.core.result_files import read_json, was_written
from atlas.core.sealed_json import NOT_UNDERSTOOD
from atlas.dataset.artifacts import SAME_IMAGE, SIBLING
from atlas.dataset.verdicts import ALIKE, DIFFERENT, SAME, Judgement
from atlas.workflows.run_folder import CALIBRATION_FILE
from index.settings import CERTAIN, PROBABLE, RegistrationSettings

if TYPE_CHECKING:
    from index.copies.calibration import SameImageCalibration
    from index.copies.false_alarms import NonMatches
    from index.siblings.calibration import SiblingCalibration
    from index.siblings.features import IdentityFeatures


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A reference that was compared with a query.

    Attributes:
        id: The reference.
        similarity: The cosine of the vectors.
        score: The registration score; -1 if an image is blank.
        same_pixels: Whether both files have the same pixels.
        identity: The identity of the reference, or "".
    """

    id: str
    similarity: float
    score: float
    same_pixels: bool
    identity: str


@dataclass(frozen=True, kw_only=True)
class QueryVerdict:
    """What is known of a query.

    Attributes:
        words: The end of a sentence that starts with the name of the query.
        relation: `same_image`, `sibling`, or "" if the query is not known.
        claimed: Whether it is claimed; if not, the relation is only probable.
        matches: The references that it is related to, by id. There are several if they have equal
            pixels.
        confidence: The probability that the relation is right, an estimate; 1 for equal pixels and
            for what a reviewer has confirmed. None without a relation.
    """

    words: str
    relation: str = ""
    claimed: bool = False
    matches: tuple[str, ...] = ()
    confidence: float | None = None


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A judge of queries.

    Attributes:
        copies: The calibration of copies; None if nothing was measured for this index.
        siblings: The calibration of siblings; None if nothing was measured for this index.
        registration: The settings of the registration.
        law: How images agree that are no copies.
    """

    copies: "SameImageCalibration | None" = None
    siblings: "SiblingCalibration | None" = None
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    law: "NonMatches | None" = None

    def verdict(
        self,
        compared: Sequence[Compared],
        features: "Callable[[], IdentityFeatures]",
        judged: Mapping[str, Judgement | None] = {},
    ) -> QueryVerdict:
        """Return what is known of a query.

        Args:
            compared: The references, most similar first.
            features: Gathers those of the query and the identities that it resembles; called only
                if they are needed.
            judged: What people have said about the query and a reference, by the id of the latter;
                None if nothing.
        """
        if not compared:
            return QueryVerdict(words="cannot be compared, because the index is empty")
        for said, relation, word in ((SAME, SAME_IMAGE, "copy"), (ALIKE, SIBLING, "sibling")):
            for one in compared:
                if judged.get(one.id) == said:
                    words = f"is a {word} of {_described(one)}, as a reviewer has confirmed"
                    return _claim(words, relation, CERTAIN, one)
        nearest = compared[0]
        rejected = {one.identity for one in compared if judged.get(one.id) == DIFFERENT} - {""}
        compared = [one for one in compared if judged.get(one.id) != DIFFERENT]
        if not compared:
            words = f"is not known; a reviewer has rejected {_described(nearest)}"
            return QueryVerdict(words=words)
        equal = [one for one in compared if one.same_pixels]
        if equal:
            words = f"has the same pixels as {', '.join(one.id for one in equal)}"
            return _claim(words, SAME_IMAGE, CERTAIN, *equal)
        if self.copies is None:
            return QueryVerdict(
                words=f"is most similar to {_described(compared[0])}; whether it is a copy is "
                "unknown, because no threshold was measured (find_leaks measures it)"
            )
        if found := self._copy(self.copies, compared):
            return found
        if found := self._sibling(compared, features, rejected):
            return found
        words = f"is not known; the most similar image is {_described(compared[0])}"
        return QueryVerdict(words=words)

    def _copy(
        self, copies: "SameImageCalibration", compared: Sequence[Compared]
    ) -> QueryVerdict | None:
        best = max(compared, key=lambda one: one.score)
        if best.score <= -1:
            return None
        confidence = float(copies.confidence(np.array([best.score]))[0])
        if best.score >= copies.threshold:
            return _claim(f"is a copy of {_described(best)}", SAME_IMAGE, confidence, best)
        if confidence >= PROBABLE:
            words = f"is probably a copy of {_described(best)}"
            return replace(_claim(words, SAME_IMAGE, confidence, best), claimed=False)
        return None

    def _sibling(
        self,
        compared: Sequence[Compared],
        gather: "Callable[[], IdentityFeatures]",
        rejected: set[str],
    ) -> QueryVerdict | None:
        measured = self.siblings
        if measured is None or measured.score is None or measured.threshold is None:
            return None
        features = gather()
        score_R = measured.score.of(features.values_RF)
        row = features.best_rows(score_R)[0]
        if row < 0 or score_R[row] < measured.threshold:
            return None
        identity = str(features.identity_of(np.array([row]))[0])
        if identity in rejected:
            return None
        confidence = float(measured.confidence(score_R[[row]])[0])
        for one in compared:
            if one.identity == identity and one.score > -1:
                words = f"is probably a sibling of {_described(one)}, identity {identity}"
                return _claim(words, SIBLING, confidence, one)
        return None


def judge_beside(index_folder: Path, maker: str) -> Judge:
    """Return a judge with the thresholds in `leaks/calibration.json` next to an index.

    Without that file, or if it was measured with another embedder, the judge has no thresholds.

    Args:
        index_folder: The index folder.
        maker: The fingerprint of the embedder of the index.
    """
    path = index_folder.resolve().parent / "leaks" / CALIBRATION_FILE
    if not was_written(path):
        return Judge()
    # Imported only here, because it loads scipy.stats, which takes a second.
    from index.copies.calibration import SameImageCalibration, restored
    from index.copies.false_alarms import restored as restored_law
    from index.siblings.calibration import restored_sibling

    stored = read_json(path, stage=Stage.LEAKS)
    try:
        if stored["embedder"] != maker:
            return Judge()
        return Judge(
            copies=SameImageCalibration(**restored(stored[SAME_IMAGE])),
            siblings=restored_sibling(stored[SIBLING]),
            registration=RegistrationSettings(**restored(stored["registration"])),
            law=restored_law(stored["law"]),
        )
    except NOT_UNDERSTOOD:  # the file was written by an earlier version
        return Judge()


def _claim(words: str, relation: str, confidence: float, *matches: Compared) -> QueryVerdict:
    return QueryVerdict(
        words=words,
        relation=relation,
        claimed=True,
        matches=tuple(one.id for one in matches),
        confidence=confidence,
    )


def _described(one: Compared) -> str:
    return f"{one.id} (registration score {one.score:.1f}, similarity {one.similarity:.2f})"
