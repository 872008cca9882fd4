"""What the known images say of a test image: neighbours, claim, votes, and what that rests on."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from atlas.report.evidence_plots import evidence_plot, similarity_plot
from atlas.report.explanation_page import Claim, Neighbour, Picture, Vote, picture_uri
from atlas.report.leak_page import Relation, difference_uri
from atlas.workflows.embed.lookup import nearest_known
from atlas.workflows.explain.drawing import Draw
from atlas.workflows.leaks.pair_difference import lay_over, warped
from atlas.workflows.leaks.pictures import sibling_curves
from atlas.workflows.leaks.report import same_image_in_words, sibling_in_words
from atlas.workflows.runs.run_folder import Leaks, RunSoFar
from index.claims.leaks import SAME_IMAGE, SIBLING, best_first, rivals_of, votes_of

SHOWN_NEIGHBOURS = 8

Row = Mapping[Hashable, Any]


def candidates(name: str, run: RunSoFar) -> pd.DataFrame:
    """The labelled images that were looked at, claims first, then by similarity; of the index
    itself where no leaks were looked for. Columns of matches.csv, and `votes`."""
    if run.leaks:
        pairs = run.leaks.known(name)
        claims = best_first(pairs)
        voting = rivals_of(claims) if len(claims) else claims
        others = pairs[pairs["relation"] == ""].sort_values(
            ["similarity", "match_id"], ascending=[False, True]
        )
        found = pd.concat([claims, others])
        found["votes"] = found["match_id"].isin(set(voting["match_id"]))
    elif run.index:
        (answer,) = nearest_known([name], run.index, SHOWN_NEIGHBOURS)
        rows = [(hit.id, hit.similarity, "", np.nan, np.nan, False) for hit in answer.hits]
        names = ["match_id", "similarity", "relation", "confidence", "evidence", "votes"]
        found = pd.DataFrame(rows, columns=names)
    else:
        return pd.DataFrame()
    return found[:SHOWN_NEIGHBOURS]


def neighbour(row: Row, draw: Draw) -> Neighbour:
    """A row of `candidates`; evidence is measured here where matches.csv has none."""
    match_id, evidence, confidence = row["match_id"], row["evidence"], row["confidence"]
    field = draw.field(match_id)
    if np.isnan(evidence):
        evidence = lay_over(draw.own, field, draw.registration).evidence
    return Neighbour(
        id=match_id,
        uri=picture_uri(draw.rgb(field)),
        similarity=row["similarity"],
        evidence=evidence,
        relation=row["relation"],
        confidence=None if np.isnan(confidence) else confidence,
        labels=draw.run.labels[match_id],
        identity=draw.run.identities[match_id],
        votes=row["votes"],
    )


def claim_of(name: str, leaks: Leaks, draw: Draw) -> Claim | None:
    row = leaks.claim_of.get(name)
    if row is None:
        return None
    rivals = rivals_of(best_first(leaks.known(name)))
    votes = votes_of(rivals, draw.run.labels)
    sets = [tuple(sorted(draw.run.labels[i])) for i in rivals["match_id"]]
    total = sum(votes.values()) or 1.0
    return Claim(
        match_id=row["match_id"],
        relation=row["relation"],
        similarity=row["similarity"],
        evidence=None if pd.isna(row["evidence"]) else row["evidence"],
        confidence=row["confidence"],
        decision=row["decision"],
        reason=row["reason"],
        votes=[
            Vote(labels=labels, share=weight / total, matches=sets.count(labels))
            for labels, weight in sorted(votes.items(), key=lambda vote: -vote[1])
        ],
        pair=_pair(draw, row["match_id"], row["relation"]),
    )


def _pair(draw: Draw, match_id: str, relation: str) -> list[Picture]:
    """Both images; of a copy also how it lies over its source, and where they differ."""
    match = draw.field(match_id)
    own = draw.rgb(draw.own)
    both = [
        Picture(said="this image", uri=picture_uri(own)),
        Picture(said=f"best match {match_id}", uri=picture_uri(draw.rgb(match))),
    ]
    if relation != SAME_IMAGE:
        return both
    over = lay_over(draw.own, match, draw.registration)
    laid = Picture(said="laid over the match", uri=picture_uri(warped(own, over.laid_23)))
    apart = Picture(said="difference", uri=difference_uri(over.difference_SS))
    return [both[0], laid, both[1], apart]


def rests_on(leaks: Leaks) -> tuple[Relation, ...]:
    """What is claimed of all test images, the cuts and what they promise."""
    calibration = leaks.calibration
    return (
        same_image_in_words(leaks.claims, calibration.same_image.calibration),
        sibling_in_words(leaks.claims, calibration.sibling),
    )


def plots(name: str, leaks: Leaks) -> list[Picture]:
    """Where the image stands: by its pixels always, by similarity where a sibling is claimed."""
    evidence, same = leaks.known(name)["evidence"].max(), leaks.calibration.same_image
    drawn = evidence_plot(
        planted=np.array(same.calibration.planted),
        natural=same.natural,
        cut=same.calibration.cut,
        own=None if pd.isna(evidence) else float(evidence),
    )
    made = [Picture(said="its best candidate, among copies and strangers", uri=drawn)]
    sibling, row = leaks.calibration.sibling, leaks.claim_of.get(name)
    if row is not None and row["relation"] == SIBLING and sibling.cut is not None:
        curves, own = sibling_curves(sibling), row["similarity"]
        drawn = similarity_plot(curves=curves, cut=sibling.cut, own=own)
        made.append(Picture(said="what claims of siblings are worth from here on", uri=drawn))
    return made
