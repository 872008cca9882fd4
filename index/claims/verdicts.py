"""Claims as people have judged them: rejected pairs are not claimed, accepted ones are certain."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from atlas.dataset.artifacts import SAME_IMAGE, SIBLING, LeakReport, Matches
from atlas.dataset.verdicts import ALIKE, DIFFERENT, SAME, UNSURE, Judged, Judgement, Pair
from index.claims.review_certificate import ReviewCertificate, certify
from index.settings import CERTAIN

RELATION_OF: Mapping[Judgement, str] = {SAME: SAME_IMAGE, ALIKE: SIBLING}


def with_verdicts(
    matches: Matches, judged: Judged, identities: Mapping[str, str | None]
) -> Matches:
    """Return matches whose relations and confidences follow the verdicts of people.

    A pair that is judged to be the same or a sibling has that relation and is certain. A different
    pair has none, and its query is no sibling of any image of that identity either. A pair about
    which people are unsure keeps what the scores say.

    Args:
        matches: The examined pairs, as the scores alone claim them.
        judged: The verdicts.
        identities: The identity of each labelled image.
    """
    if not judged.pairs:
        return matches
    table = matches.table.copy()
    rejected = rejected_identities(judged, identities)
    pairs = list(zip(table["query_id"], table["match_id"], strict=True))
    said = pd.Series([judged.of(*pair) for pair in pairs], index=table.index, dtype=object)
    accepted = said.map(RELATION_OF)
    no_sibling = np.array(
        [identities.get(match) in rejected.get(query, ()) for query, match in pairs], bool
    )
    refused = said.eq(DIFFERENT) | (table["relation"].eq(SIBLING) & no_sibling & accepted.isna())
    table["relation"] = table["relation"].mask(refused, "").where(accepted.isna(), accepted)
    table["confidence"] = (
        table["confidence"].mask(refused, np.nan).where(accepted.isna(), CERTAIN).astype(float)
    )
    return replace(matches, table=table)


def rejected_identities(
    judged: Judged, identities: Mapping[str, str | None]
) -> dict[str, frozenset[str]]:
    """Return, for each image, the identities of the labelled images that differ from it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for pair in judged.with_verdict(DIFFERENT):
        for one, other in (pair, pair[::-1]):
            if name := identities.get(other):
                found[one].add(name)
    return {image_id: frozenset(names) for image_id, names in found.items()}


def accepted_references(
    judged: Judged, query_ids: Sequence[str], reference_ids: Collection[str]
) -> dict[str, list[str]]:
    """Return the references of each query with which people have accepted it, sorted."""
    queries, references = set(query_ids), set(reference_ids)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for pair in sorted(judged.with_verdict(SAME) | judged.with_verdict(ALIKE)):
        for one, other in (pair, pair[::-1]):
            if one in queries and other in references:
                found[one].append(other)
    return dict(found)


def pairs_to_review(claims: LeakReport, relation: str) -> list[Pair]:
    """Return the query and match of the claims of a relation; those of equal pixels need no review.

    Args:
        claims: The claims by the scores alone, before any verdict.
        relation: The relation.
    """
    table = claims.table
    chosen = table[table["relation"].eq(relation) & (table["confidence"] < CERTAIN)]
    return list(zip(chosen["Id"], chosen["match_id"], strict=True))


def certified_by_review(
    claims: LeakReport, relation: str, judged: Judged, *, error_rate: float
) -> ReviewCertificate:
    """Return how many claims of a relation are right, as far as a random sample of verdicts shows.

    The claims are those of `pairs_to_review`. A sibling that turns out to be a copy is right.

    Args:
        claims: The claims by the scores alone, before any verdict.
        relation: The relation.
        judged: The verdicts.
        error_rate: The largest probability that a reviewer accepts a wrong claim.
    """
    fine = {SAME} if relation == SAME_IMAGE else {SAME, ALIKE}
    pairs = pairs_to_review(claims, relation)
    said = {pair: judged.of(*pair) for pair in pairs}
    right = {pair: verdict in fine for pair, verdict in said.items() if verdict is not None}
    return certify(pairs, right, error_rate=error_rate)


def in_words(query_id: str, match_id: str, judged: Judged) -> str:
    """Return the verdict on a pair as a sentence, or "" if there is none."""
    said = judged.of(query_id, match_id)
    if said == SAME:
        return f"A reviewer has confirmed that the image is a copy of {match_id}."
    if said == ALIKE:
        return f"A reviewer has confirmed that the image is a sibling of {match_id}."
    if said == UNSURE:
        return "Reviewers are unsure about this pair, or disagree."
    return ""
