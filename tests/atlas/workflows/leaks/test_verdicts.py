"""Claims whose precision is shown by a review, and not by calibration."""

import numpy as np
import pandas as pd

from atlas.dataset.artifacts import MATCH_COLUMNS, Matches
from atlas.dataset.verdicts import Judged
from atlas.workflows.leaks.verdicts import judged_claims
from index.claims.review_certificate import random_order
from index.settings import LeakSettings
from tests.atlas.workflows.leaks.calibrations import calibrated

COPIES = 400
PAIRS = [(f"q{n}", "a") for n in range(COPIES)]


def claims(said: dict[tuple[str, str], str], **settings: float) -> pd.DataFrame:
    calibration = calibrated(settings=LeakSettings(copy_precision=0.99, **settings))
    table = pd.DataFrame(PAIRS, columns=["query_id", "match_id"]).assign(
        relation="same_image", confidence=0.9, registration_score=20.0
    )
    best = np.repeat([20.0, 1.0], [COPIES, 3000])  # most test images are claimed to be nothing
    certificate = calibration.certificate(best, claims=COPIES)
    return judged_claims(
        Matches(table=table.reindex(columns=list(MATCH_COLUMNS))),
        Judged(pairs={(match, query): verdict for (query, match), verdict in said.items()}),
        calibration, certificate,
        identities={"a": None}, labels={"a": (1,)}, channels=("green",), siblings={},
    ).table.set_index("Id")  # fmt: skip


def test_a_review_of_a_random_sample_lets_labels_be_transferred():
    order = random_order(PAIRS)
    reviewed = dict.fromkeys(order[:300], "same")
    assert set(claims({})["decision"]) == {"abstain"}
    assert set(claims(reviewed)["decision"]) == {"transfer"}
    # The same number of verdicts on claims that a person has chosen shows nothing about the rest.
    chosen = claims(dict.fromkeys(order[-300:], "same"))
    assert (chosen["decision"] == "transfer").sum() == 300
    # A reviewer who often errs shows less.
    assert (claims(reviewed, reviewer_error=0.2)["decision"] == "transfer").sum() == 300


def test_claims_that_a_review_rejects_are_not_transferred_with_the_others():
    order = random_order(PAIRS)
    said = dict.fromkeys(order[:390], "same") | {order[3]: "different", order[4]: "unsure"}
    found = claims(said)
    assert order[3][0] not in found.index
    assert found.at[order[4][0], "decision"] == "abstain"
    assert (found["decision"] == "transfer").sum() == COPIES - 2
