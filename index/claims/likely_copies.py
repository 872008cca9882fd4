"""Test images that are probably copies, although no score reaches the threshold."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from atlas.dataset.artifacts import LEAK_COLUMNS, SAME_IMAGE
from atlas.dataset.labels import format_labels
from atlas.dataset.verdicts import NOTHING_JUDGED, Judged
from index.claims.leaks import ABSTAIN, with_geometry
from index.copies.calibration import SameImageCalibration
from index.settings import PROBABLE


def likely_copies(
    matches: pd.DataFrame,
    *,
    claimed: Collection[str],
    tests: Collection[str],
    labels: Mapping[str, tuple[int, ...]],
    channels: Sequence[str],
    same_image: SameImageCalibration,
    judged: Judged = NOTHING_JUDGED,
) -> pd.DataFrame:
    """Return the test images without a claim that a person should look at.

    The score of their best candidate is below the threshold, and a copy has such a score more often
    than a non-match. The columns are those of `leaks.csv`, and nothing is transferred.

    Args:
        matches: The rows of `matches.csv`.
        claimed: The test images with a claim.
        tests: The ids of the test images.
        labels: The labels of the labelled images, by id.
        channels: The names of the channels.
        same_image: The calibration of copies.
        judged: The verdicts of people. Pairs that have one are left out.
    """
    rows = matches[
        (matches["relation"] == "")
        & ~matches["query_id"].isin(set(claimed))
        & matches["query_id"].isin(set(tests))
        & matches["match_id"].isin(set(labels))
    ].sort_values(["query_id", "registration_score"], ascending=[True, False], kind="stable")
    if judged.pairs:
        pairs = zip(rows["query_id"], rows["match_id"], strict=True)
        rows = rows[np.array([judged.of(*pair) is None for pair in pairs], bool)]
    best = rows.drop_duplicates("query_id")
    probability = same_image.confidence(best["registration_score"].to_numpy(float))
    best = best.assign(confidence=probability)[probability >= PROBABLE]
    said = [_in_words(row, channels) for row in best.to_dict("records")]
    best = best.rename(columns={"query_id": "Id"}).assign(
        relation=SAME_IMAGE,
        sibling_score=np.nan,
        labels=[format_labels(labels[str(match)]) for match in best["match_id"]],
        decision=ABSTAIN,
        reason=said,
    )
    return best[list(LEAK_COLUMNS)].reset_index(drop=True)


def _in_words(pair: Mapping[Hashable, Any], channels: Sequence[str]) -> str:
    said = (
        f"The image is probably a copy of {pair['match_id']}: registration score "
        f"{pair['registration_score']:.1f}, probability {pair['confidence']:.2f}"
    )
    shown = with_geometry(said, pair, channels)
    return f"{shown}. The score is below the threshold, so nothing is claimed."
