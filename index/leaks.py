"""From examined candidates to claims: which test images are known, and what labels follow."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.artifacts import LEAK_COLUMNS, MATCH_COLUMNS, LeakReport, Matches, Neighbours
from index.calibration import SameImageCalibration, SiblingCalibration
from index.transfer import decide

SAME_IMAGE, SIBLING = "same_image", "sibling"


def find_matches(
    neighbours: Neighbours,
    evidence_NK: NDArray[np.float32],
    same_image: SameImageCalibration,
    sibling: SiblingCalibration,
    *,
    splits: Mapping[str, str],
    identities: Mapping[str, str | None],
) -> Matches:
    """A row for each examined pair; relation is "" where none is claimed.

    evidence_NK: correlation of registered pixels; splits, identities: by image id. A sibling needs
    a match whose identity is known, and a query that shows something (evidence above -1).
    """
    found = neighbours.reference_ids_NK != ""
    rows, columns = np.nonzero(found)
    similarity = neighbours.similarity_NK[rows, columns].astype(float)
    evidence = evidence_NK[rows, columns].astype(float)
    query_ids = np.array([*neighbours.query_ids, ""], dtype=object)[rows]
    match_ids = neighbours.reference_ids_NK[rows, columns]
    is_copy = evidence >= same_image.cut
    known = np.array([identities.get(str(i)) is not None for i in match_ids], dtype=bool)
    is_sibling = ~is_copy & known & (evidence > -1.0)
    is_sibling &= similarity >= (np.inf if sibling.cut is None else sibling.cut)
    confidence = np.where(
        is_copy,
        same_image.confidence(evidence),
        np.where(is_sibling, sibling.confidence(similarity), np.nan),
    )
    columns_of = {
        "query_id": query_ids,
        "query_split": [splits[str(i)] for i in query_ids],
        "match_id": match_ids,
        "match_split": [splits[str(i)] for i in match_ids],
        "similarity": similarity,
        "evidence": np.where(is_sibling, np.nan, evidence),
        "relation": np.select([is_copy, is_sibling], [SAME_IMAGE, SIBLING], ""),
        "confidence": confidence,
    }
    return Matches(table=pd.DataFrame(columns_of, columns=list(MATCH_COLUMNS)))


def find_leaks(
    matches: Matches,
    *,
    labels: Mapping[str, tuple[int, ...]],
    identities: Mapping[str, str | None],
    unproven: Collection[str] = (),
) -> LeakReport:
    """A row for each query with a claim, by its best match: same_image first, then confidence.

    labels, identities: of the reference images, by id. unproven: relations whose precision is not
    shown to be as asked; their claims abstain.
    """
    rows = []
    for query_id, group in best_first(matches.table).groupby("query_id", sort=True):
        best = group.iloc[0]
        rivals = rivals_of(group)
        verdict = decide(
            rivals, labels=labels, identities=identities,
            proven=best["relation"] not in unproven,
        )  # fmt: skip
        rows.append(
            {
                "Id": query_id,
                **{name: best[name] for name in LEAK_COLUMNS[1:6]},
                **verdict,
            }
        )
    return LeakReport(table=pd.DataFrame(rows, columns=list(LEAK_COLUMNS)))


def best_first(matches: pd.DataFrame) -> pd.DataFrame:
    """The claims among them, by query and then as they count: same_image first, then confidence."""
    return matches[matches["relation"] != ""].sort_values(
        ["query_id", "relation", "confidence", "evidence", "similarity", "match_id"],
        ascending=[True, True, False, False, False, True],  # "same_image" < "sibling"
        kind="stable",
    )


def rivals_of(claims: pd.DataFrame) -> pd.DataFrame:
    """Of one query's claims, best first, those of the best one's relation: they vote."""
    best: str = claims["relation"].iloc[0]
    rivals: pd.DataFrame = claims[claims["relation"] == best]
    return rivals
