"""What is said of a query: whether it is known, by the thresholds that find_leaks measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atlas.core.errors import Stage
from atlas.core.files import read_json
from atlas.dataset.artifacts import SAME_IMAGE, SIBLING
from atlas.workflows.run_folder import CALIBRATION_FILE
from index.settings import PROBABLE, RegistrationSettings

if TYPE_CHECKING:
    from index.copies.calibration import SameImageCalibration


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A reference beside a query.

    similarity: cosine of the embeddings.
    score: registration score, -1 to 1.
    same_pixels: whether both files hold the same pixels.
    identity: of the reference, "" where none is known.
    """

    id: str
    similarity: float
    score: float
    same_pixels: bool
    identity: str


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Says in words what a query is.

    copies: the calibration of copies; None where nothing was measured for this index.
    sibling_threshold: similarity from which a sibling is claimed; None where none is.
    """

    copies: "SameImageCalibration | None" = None
    sibling_threshold: float | None = None
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)

    def verdict(self, compared: Sequence[Compared]) -> str:
        """Return what is known of a query, as the end of a sentence that begins with its name.

        compared: its references, most similar first.
        """
        if not compared:
            return "has nothing to be compared with"
        equal = [one for one in compared if one.same_pixels]
        if equal:
            return f"has the same pixels as {', '.join(one.id for one in equal)}"
        best = max(compared, key=lambda one: one.score)
        if self.copies is None:
            return f"is most similar to {_described(compared[0])}; no threshold was measured"
        if best.score >= self.copies.threshold:
            return f"is a copy of {_described(best)}"
        if best.score > -1 and self.copies.probability(np.array([best.score]))[0] >= PROBABLE:
            return f"is probably a copy of {_described(best)}"
        if sibling := self._sibling(compared):
            return f"is probably a sibling of {_described(sibling)}, identity {sibling.identity}"
        return f"is like nothing that is known; most similar is {_described(compared[0])}"

    def _sibling(self, compared: Sequence[Compared]) -> Compared | None:
        if self.sibling_threshold is None:
            return None
        known = (one for one in compared if one.identity and one.score > -1)
        return next((one for one in known if one.similarity >= self.sibling_threshold), None)


def judge_beside(index_folder: Path, maker: str) -> Judge:
    """Return what `leaks/calibration.json` beside an index says of claims.

    It says nothing where it is missing, or was measured with another embedder. maker: the
    fingerprint of the index's embedder.
    """
    path = index_folder.resolve().parent / "leaks" / CALIBRATION_FILE
    if not path.exists():
        return Judge()
    from index.copies.calibration import SameImageCalibration  # loads scipy.stats: a second

    stored = read_json(path, stage=Stage.LEAKS)
    if stored.get("embedder") != maker:
        return Judge()
    try:
        return Judge(
            copies=SameImageCalibration(**_restored(stored[SAME_IMAGE])),
            sibling_threshold=stored[SIBLING]["threshold"],
            registration=RegistrationSettings(**_restored(stored["registration"])),
        )
    except (KeyError, TypeError):  # of an earlier version
        return Judge()


def _described(one: Compared) -> str:
    return f"{one.id} (registration score {one.score:.2f}, similarity {one.similarity:.2f})"


def _restored(stored: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists where the dataclasses have tuples, and a dictionary for the guarantee."""

    from index.copies.guarantee import Guarantee

    def value(name: str, said: Any) -> Any:
        if name == "guarantee" and said is not None:
            return Guarantee(**said)
        return tuple(said) if isinstance(said, list) else said

    return {name: value(name, said) for name, said in stored.items()}
