"""From examined candidates to claims: which test images are known, and what labels follow."""

from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.dataset.artifacts import (
    LEAK_COLUMNS,
    MATCH_COLUMNS,
    SAME_IMAGE,
    SIBLING,
    LeakReport,
    Matches,
    Neighbours,
)
from atlas.dataset.labels import format_labels
from index.copies.calibration import SameImageCalibration, SiblingCalibration

TRANSFER, ABSTAIN = "transfer", "abstain"
LEAST_AGREEMENT = 0.5
# Only equal pixels have this confidence: an estimate is never surer than n / (n + 1).
CERTAIN = 1.0


def find_matches(
    neighbours: Neighbours,
    scores_NK: NDArray[np.float32],
    same_image: SameImageCalibration,
    sibling: SiblingCalibration,
    *,
    equal_NK: NDArray[np.bool_],
    splits: Mapping[str, str],
    identities: Mapping[str, str | None],
) -> Matches:
    """Return a row for each examined pair; relation is "" where none is claimed.

    A sibling needs a match whose identity is known, and a query that shows something (a score above
    -1). Images that show something and whose pixels are equal are certain copies, whatever the
    threshold is.

    Args:
        neighbours: The candidates of each query, N x K.
        scores_NK: Their registration scores.
        same_image: The threshold of copies.
        sibling: The threshold of siblings.
        equal_NK: Whether the pixels of query and candidate are equal.
        splits: The split of each image, by id.
        identities: The identity of each image, by id.
    """
    found = neighbours.reference_ids_NK != ""
    rows, columns = np.nonzero(found)
    similarity = neighbours.similarity_NK[rows, columns].astype(float)
    registration_score = scores_NK[rows, columns].astype(float)
    query_ids = np.array([*neighbours.query_ids, ""], dtype=object)[rows]
    match_ids = neighbours.reference_ids_NK[rows, columns]
    is_equal = equal_NK[rows, columns] & (registration_score > -1.0)
    is_copy = (registration_score >= same_image.threshold) | is_equal
    known = np.array([identities.get(str(i)) is not None for i in match_ids], dtype=bool)
    is_sibling = ~is_copy & known & (registration_score > -1.0)
    is_sibling &= similarity >= (np.inf if sibling.threshold is None else sibling.threshold)
    confidence = np.select(
        [is_equal, is_copy, is_sibling],
        [CERTAIN, same_image.confidence(registration_score), sibling.confidence(similarity)],
        np.nan,
    )
    columns_of = {
        "query_id": query_ids,
        "query_split": [splits[str(i)] for i in query_ids],
        "match_id": match_ids,
        "match_split": [splits[str(i)] for i in match_ids],
        "similarity": similarity,
        "registration_score": np.where(is_sibling, np.nan, registration_score),
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
    """Return a row for each query with a claim, by its best match: same_image, then confidence.

    labels, identities: of the reference images, by id. unproven: relations whose precision is not
    shown to be as asked; their claims abstain, unless they are certain.
    """
    rows = []
    for query_id, group in best_first(matches.table).groupby("query_id", sort=True):
        best = group.iloc[0]
        proven = best["relation"] not in unproven or best["confidence"] == CERTAIN
        verdict = decide_transfer(
            rivals_of(group), labels=labels, identities=identities, proven=proven
        )
        numbers = {name: best[name] for name in LEAK_COLUMNS[1:6]}
        rows.append({"Id": query_id, **numbers, **verdict})
    return LeakReport(table=pd.DataFrame(rows, columns=list(LEAK_COLUMNS)))


def best_first(matches: pd.DataFrame) -> pd.DataFrame:
    """Return the claims, by query and then as they count: same_image first, then confidence."""
    return matches[matches["relation"] != ""].sort_values(
        ["query_id", "relation", "confidence", "registration_score", "similarity", "match_id"],
        ascending=[True, True, False, False, False, True],  # "same_image" < "sibling"
        kind="stable",
    )


def rivals_of(claims: pd.DataFrame) -> pd.DataFrame:
    """Return the claims of one query that vote on its labels, best first.

    They are those of the best claim's relation; where that is certain, only those as certain vote.
    """
    best = claims.iloc[0]
    rivals: pd.DataFrame = claims[claims["relation"] == best["relation"]]
    if best["confidence"] == CERTAIN:
        rivals = rivals[rivals["confidence"] == CERTAIN]
    return rivals


def decide_transfer(
    rivals: pd.DataFrame,
    *,
    labels: Mapping[str, tuple[int, ...]],
    identities: Mapping[str, str | None],
    proven: bool = True,
) -> dict[str, str]:
    """Return labels, decision and reason for one query.

    rivals: its claims of one relation, best first, with the columns of `matches.csv`.
    The matches vote with their confidence for their whole label set. The best match's set is
    transferred where it holds more than half of the votes; else the matches contradict one another
    and the claim abstains, as it does where the relation's precision is not proven.
    """
    best = rivals.iloc[0]
    votes = votes_of(rivals, labels)
    winner = tuple(sorted(labels[best["match_id"]]))
    total = sum(votes.values())
    share = votes[winner] / total if total > 0 else 0.0
    numbers = format_labels(labels[best["match_id"]])
    claim = _claim_in_words(best, len(rivals), identities)
    if share <= LEAST_AGREEMENT:
        others = " / ".join(format_labels(other) for other in votes if other != winner)
        reason = f"{claim}; but the matches disagree: {numbers} against {others}"
        return {"labels": numbers, "decision": ABSTAIN, "reason": reason}
    agreeing = "" if len(rivals) == 1 else f", with {share:.0%} of the votes"
    if not winner:
        reason = f"{claim}; it has no labels to transfer{agreeing}"
        return {"labels": "", "decision": ABSTAIN, "reason": reason}
    reason = f"{claim}; its labels are {numbers}{agreeing}"
    if not proven:
        reason += "; they are not transferred, as the precision of such claims is not guaranteed"
    return {"labels": numbers, "decision": TRANSFER if proven else ABSTAIN, "reason": reason}


def votes_of(
    rivals: pd.DataFrame, labels: Mapping[str, tuple[int, ...]]
) -> dict[tuple[int, ...], float]:
    """Return the confidence that the matches give to each label set, in the order of matches."""
    votes: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for match_id, confidence in zip(rivals["match_id"], rivals["confidence"], strict=True):
        votes[tuple(sorted(labels[match_id]))] += float(confidence)
    return dict(votes)


def _claim_in_words(best: pd.Series, count: int, identities: Mapping[str, str | None]) -> str:
    among = "" if count == 1 else f" (best of {count} matches)"
    if best["confidence"] == CERTAIN:
        return f"the same picture as {best['match_id']}{among}: their pixels are equal"
    sure = f"confidence {best['confidence']:.3f}"
    if best["relation"] == SAME_IMAGE:
        return (
            f"the same picture as {best['match_id']}{among}: "
            f"registered pixels correlate {best['registration_score']:.3f}, {sure}"
        )
    return (
        f"a sibling of {best['match_id']}{among}, identity {identities[best['match_id']]}: "
        f"similarity {best['similarity']:.3f}, {sure}"
    )
