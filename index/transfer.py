"""What the labels of the matches are worth: transfer or abstain, and why, in one sentence."""

from collections import defaultdict
from collections.abc import Mapping

import pandas as pd

from atlas.labels import format_labels

TRANSFER, ABSTAIN = "transfer", "abstain"
LEAST_AGREEMENT = 0.5


def decide(
    rivals: pd.DataFrame,
    *,
    labels: Mapping[str, tuple[int, ...]],
    identities: Mapping[str, str | None],
    proven: bool = True,
) -> dict[str, str]:
    """Labels, decision and reason for one query.

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
    told = _claim_in_words(best, len(rivals), identities)
    numbers = format_labels(labels[best["match_id"]])
    if share > LEAST_AGREEMENT:
        agreeing = "" if len(rivals) == 1 else f", with {share:.0%} of the votes"
        reason = f"{told}; its labels are {numbers}{agreeing}"
        if proven:
            return {"labels": numbers, "decision": TRANSFER, "reason": reason}
        reason += "; not transferred, for the precision asked of such claims is not proven here"
        return {"labels": numbers, "decision": ABSTAIN, "reason": reason}
    others = " / ".join(format_labels(other) for other in votes if other != winner)
    reason = f"{told}; but the matches disagree: {numbers} against {others}"
    return {"labels": numbers, "decision": ABSTAIN, "reason": reason}


def votes_of(
    rivals: pd.DataFrame, labels: Mapping[str, tuple[int, ...]]
) -> dict[tuple[int, ...], float]:
    """What the matches say, each with its confidence, by label set in the order of labels."""
    votes: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for match_id, confidence in zip(rivals["match_id"], rivals["confidence"], strict=True):
        votes[tuple(sorted(labels[match_id]))] += float(confidence)
    return dict(votes)


def _claim_in_words(best: pd.Series, count: int, identities: Mapping[str, str | None]) -> str:
    among = "" if count == 1 else f" (best of {count} matches)"
    sure = f"confidence {best['confidence']:.3f}"
    if best["relation"] == "same_image":
        return (
            f"the same picture as {best['match_id']}{among}: "
            f"registered pixels correlate {best['evidence']:.3f}, {sure}"
        )
    return (
        f"a sibling of {best['match_id']}{among}, identity {identities[best['match_id']]}: "
        f"similarity {best['similarity']:.3f}, {sure}"
    )
