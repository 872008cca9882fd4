"""Claims from examined pairs: which test images are known, and which labels follow."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from atlas.dataset.verdicts import NOTHING_JUDGED, UNSURE, Judged
from index.claims.verdicts import in_words
from index.copies.calibration import SameImageCalibration
from index.copies.geometry import geometry_table, of_row
from index.copies.verification import Registrations
from index.settings import CERTAIN
from index.siblings.calibration import SiblingCalibration

TRANSFER, ABSTAIN = "transfer", "abstain"
LEAST_AGREEMENT = 0.5
NUMBERS = ("match_id", "relation", "similarity", "registration_score", "confidence")


@dataclass(frozen=True, kw_only=True)
class SiblingOf:
    """The labelled identity that fits a query best.

    Attributes:
        identity: The identity.
        score: Its sibling score.
        features: What the score rests on, in words.
    """

    identity: str
    score: float
    features: str


def find_matches(
    neighbours: Neighbours,
    registrations: Registrations,
    same_image: SameImageCalibration,
    sibling: SiblingCalibration,
    *,
    equal_NK: NDArray[np.bool_],
    splits: Mapping[str, str],
    identities: Mapping[str, str | None],
    siblings: Mapping[str, SiblingOf],
) -> Matches:
    """Return one row for each examined pair; `relation` is "" if nothing is claimed.

    A query is a sibling of the candidates of one identity, the one that fits it best, if its score
    reaches the threshold and the images are not blank (a registration score above -1). Images with
    equal pixels that are not blank are certain copies, whatever the threshold is.

    Args:
        neighbours: The candidates of each query, N x K.
        registrations: Their registrations.
        same_image: The threshold of copies.
        sibling: The threshold of siblings.
        equal_NK: Whether the pixels of query and candidate are equal.
        splits: The split of each image, by id.
        identities: The identity of each image, by id.
        siblings: The identity that fits each query best, by id.
    """
    found = neighbours.reference_ids_NK != ""
    rows, columns = np.nonzero(found)
    similarity = neighbours.similarity_NK[rows, columns].astype(float)
    registration_score = registrations.scores_NK[rows, columns].astype(float)
    query_ids = np.array([*neighbours.query_ids, ""], dtype=object)[rows]
    match_ids = neighbours.reference_ids_NK[rows, columns]
    is_equal = equal_NK[rows, columns] & (registration_score > -1.0)
    is_copy = (registration_score >= same_image.threshold) | is_equal
    fitting = [siblings.get(str(i)) for i in query_ids]
    sibling_score = np.array([one.score if one else -np.inf for one in fitting], float)
    fits = np.array(
        [one is not None and identities.get(str(i)) == one.identity
         for one, i in zip(fitting, match_ids, strict=True)], dtype=bool,
    )  # fmt: skip
    is_sibling = ~is_copy & fits & (registration_score > -1.0)
    is_sibling &= sibling_score >= (np.inf if sibling.threshold is None else sibling.threshold)
    confidence = np.select(
        [is_equal, is_copy, is_sibling],
        [CERTAIN, same_image.confidence(registration_score), sibling.confidence(sibling_score)],
        np.nan,
    )
    columns_of = {
        "query_id": query_ids,
        "query_split": [splits[str(i)] for i in query_ids],
        "match_id": match_ids,
        "match_split": [splits[str(i)] for i in match_ids],
        "similarity": similarity,
        "registration_score": registration_score,
        "relation": np.select([is_copy, is_sibling], [SAME_IMAGE, SIBLING], ""),
        "confidence": confidence,
    }
    table = pd.DataFrame(columns_of)
    table = table.join(geometry_table(registrations, rows, columns))
    return Matches(table=table[list(MATCH_COLUMNS)])


def find_leaks(
    matches: Matches,
    *,
    labels: Mapping[str, tuple[int, ...]],
    channels: Sequence[str],
    siblings: Mapping[str, SiblingOf],
    unproven: Collection[str] = (),
    least_confidence: float = 0.0,
    judged: Judged = NOTHING_JUDGED,
) -> LeakReport:
    """Return one row for each query that has a claim, described by its best match.

    The best match is a copy before a sibling, and then the one with the highest confidence. If a
    reviewer has accepted a match, others do not count.

    Args:
        matches: The examined pairs, after `with_verdicts`.
        labels: The labels of the reference images, by id.
        channels: The names of the channels.
        siblings: The identity that fits each query best, by id.
        unproven: The relations whose precision is not guaranteed. Their claims abstain, unless the
            pixels are equal or a reviewer has accepted the match.
        least_confidence: Claims with a lower confidence abstain.
        judged: The verdicts of reviewers. A claim about which they are unsure abstains.
    """
    rows = []
    for query_id, group in best_first(matches.table).groupby("query_id", sort=True):
        best = group.iloc[0]
        proven = best["relation"] not in unproven or best["confidence"] == CERTAIN
        fitting = siblings.get(str(query_id)) if best["relation"] == SIBLING else None
        verdict = decide_transfer(
            rivals_of(group),
            labels=labels,
            channels=channels,
            sibling=fitting,
            proven=proven,
            least_confidence=least_confidence,
            judged=judged,
        )
        numbers = {name: best[name] for name in NUMBERS}
        score = np.nan if fitting is None else fitting.score
        rows.append({"Id": query_id, **numbers, "sibling_score": score, **verdict})
    return LeakReport(table=pd.DataFrame(rows, columns=list(LEAK_COLUMNS)))


def uncertain_copies(matches: Matches) -> int:
    """Return the number of queries that are claimed to be copies, without those of equal pixels."""
    copies = matches.table[matches.table["relation"] == SAME_IMAGE]
    return int((copies.groupby("query_id")["confidence"].max() < CERTAIN).sum())


def best_first(matches: pd.DataFrame) -> pd.DataFrame:
    """Return the claims sorted by query, and for each query copies first, then by confidence."""
    claims = matches[matches["relation"] != ""]
    # All siblings of a query have one confidence, and the nearest comes first.
    agreement = claims["registration_score"].where(claims["relation"] == SAME_IMAGE, 0.0)
    return (
        claims.assign(agreement=agreement)
        .sort_values(
            ["query_id", "relation", "confidence", "agreement", "similarity", "match_id"],
            ascending=[True, True, False, False, False, True],  # "same_image" < "sibling"
            kind="stable",
        )
        .drop(columns="agreement")
    )


def rivals_of(claims: pd.DataFrame) -> pd.DataFrame:
    """Return the claims of one query that vote on its labels, best first.

    These are the claims of the same relation as the best one. If the best match is certain, only
    certain ones vote.
    """
    if len(claims) == 1:  # as most are, and pandas takes a millisecond for a comparison
        return claims
    best = claims.iloc[0]
    rivals: pd.DataFrame = claims[claims["relation"] == best["relation"]]
    if best["confidence"] == CERTAIN:
        rivals = rivals[rivals["confidence"] == CERTAIN]
    return rivals


def decide_transfer(
    rivals: pd.DataFrame,
    *,
    labels: Mapping[str, tuple[int, ...]],
    channels: Sequence[str],
    sibling: SiblingOf | None,
    proven: bool = True,
    least_confidence: float = 0.0,
    judged: Judged = NOTHING_JUDGED,
) -> dict[str, str]:
    """Return the labels, the decision and the reason for one query.

    Each match votes for its whole label set with its confidence. The label set of the best match is
    transferred if it has more than half of the votes. Otherwise the matches contradict one another
    and the claim abstains. It also abstains if the precision of the relation is not guaranteed, if
    its own confidence is too low, or if reviewers are unsure about it.

    Args:
        rivals: The claims of one relation, best first, with the columns of `matches.csv`.
        labels: The labels of the reference images, by id.
        channels: The names of the channels.
        sibling: The identity of a sibling claim; None for copies.
        proven: Whether labels may be transferred.
        least_confidence: The lowest confidence with which labels are transferred.
        judged: The verdicts of reviewers.
    """
    best = rivals.iloc[0]
    said = in_words(best["query_id"], best["match_id"], judged)
    votes = votes_of(rivals, labels)
    winner = tuple(sorted(labels[best["match_id"]]))
    total = sum(votes.values())
    share = votes[winner] / total if total > 0 else 0.0
    numbers = format_labels(labels[best["match_id"]])
    accepted = said if best["confidence"] == CERTAIN else ""
    claim = accepted or _claim_in_words(best, len(rivals), channels, sibling)
    if share <= LEAST_AGREEMENT:
        others = " / ".join(format_labels(other) for other in votes if other != winner)
        reason = f"{claim} The matches disagree about the labels: {numbers} or {others}."
        return {"labels": numbers, "decision": ABSTAIN, "reason": reason}
    agreeing = "" if len(rivals) == 1 else f" ({share:.0%} of the votes)"
    if not winner:
        reason = f"{claim} The match has no labels to transfer{agreeing}."
        return {"labels": "", "decision": ABSTAIN, "reason": reason}
    reason = f"{claim} The labels of the match are {numbers}{agreeing}."
    sure = best["confidence"] >= least_confidence
    unsure = judged.of(best["query_id"], best["match_id"]) == UNSURE
    if unsure:
        reason += f" They are not transferred: {said[0].lower()}{said[1:]}"
    elif not proven:
        reason += " They are not transferred: the precision of such claims is not guaranteed."
    elif not sure:
        reason += f" They are not transferred: the confidence is below {least_confidence:g}."
    decision = TRANSFER if proven and sure and not unsure else ABSTAIN
    return {"labels": numbers, "decision": decision, "reason": reason}


def votes_of(
    rivals: pd.DataFrame, labels: Mapping[str, tuple[int, ...]]
) -> dict[tuple[int, ...], float]:
    """Return the total confidence of the matches for each label set, in the order of matches."""
    votes: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for match_id, confidence in zip(rivals["match_id"], rivals["confidence"], strict=True):
        votes[tuple(sorted(labels[match_id]))] += float(confidence)
    return dict(votes)


def with_geometry(said: str, pair: Mapping[Hashable, Any], channels: Sequence[str]) -> str:
    """Return a text about a pair of images, followed by what was done to the query.

    Args:
        said: The text, without a full stop.
        pair: A row of `matches.csv`.
        channels: The names of the channels.
    """
    found = of_row(pair)
    done = found.in_words(channels) if found else ""
    return f"{said}; {done}" if done else said


def _claim_in_words(
    best: pd.Series, count: int, channels: Sequence[str], sibling: SiblingOf | None
) -> str:
    among = "" if count == 1 else f" (best of {count} matches)"
    if best["confidence"] == CERTAIN:
        return f"The image is a copy of {best['match_id']}{among}: the pixels are equal."
    sure = f"confidence {best['confidence']:.3f}"
    if best["relation"] == SAME_IMAGE:
        said = (
            f"The image is a copy of {best['match_id']}{among}: "
            f"registration score {best['registration_score']:.1f}, {sure}"
        )
        return f"{with_geometry(said, best.to_dict(), channels)}."
    assert sibling is not None, "only a query that fits an identity is claimed to be a sibling"
    return (
        f"The image is a sibling of {best['match_id']}{among}, identity {sibling.identity}: "
        f"sibling score {sibling.score:.1f}, {sure} ({sibling.features})."
    )
