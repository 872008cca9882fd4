"""Which transferred labels go into the submission, knowing the classifier. N images, C classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas.artifacts import LeakReport, ProbabilitySet, positions_of
from atlas.labels import parse_labels
from atlas.metrics import label_matrix
from index.transfer import TRANSFER
from index.transfer_worth import weigh_with_errors


@dataclass(frozen=True, kw_only=True)
class Override:
    """What it is worth to put a match's labels in place of the classifier's, in macro F1."""

    made: bool
    right: float
    gain: float
    error: float

    def in_words(self) -> str:
        expected = f"expected to change macro F1 by {self.gain:+.1e} (sd {self.error:.1e})"
        sure = f"its labels are right with probability {self.right:.2f}, {expected}"
        return sure if self.made else f"not made: {sure}"


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """by_id: of each test image whose match may give its labels. wrong_share: of those labels that
    is wrong, as the classifier sees it."""

    by_id: dict[str, Override]
    wrong_share: float


def weigh_overrides(
    leaks: LeakReport,
    tests: ProbabilitySet,
    predicted_NC: NDArray[np.uint8],
    held_out: tuple[NDArray[np.float64], NDArray[np.uint8]],
    *,
    seed: int,
) -> Overrides:
    """held_out: probabilities and truth of images that the classifier did not train on."""
    claims = leaks.table[leaks.table["decision"] == TRANSFER]
    labels = [parse_labels(text) for text in claims["labels"]]
    worth = weigh_with_errors(
        held_out,
        tests.probabilities_NC.astype(float),
        predicted_NC,
        positions_of(tests.ids, list(claims["Id"]), what="probabilities"),
        label_matrix(labels, predicted_NC.shape[1]),
        claims["confidence"].to_numpy(float),
        seed=seed,
    )
    columns = (worth.made_R, worth.right_R, worth.gain_R, worth.error_R)
    return Overrides(
        by_id={
            str(i): Override(made=bool(made), right=float(right), gain=float(gain), error=float(sd))
            for i, made, right, gain, sd in zip(claims["Id"], *columns, strict=True)
        },
        wrong_share=worth.wrong_share,
    )
