"""The part of the known images in an explanation: neighbours, claim, votes and guarantee.

Axes: C channels, S rows and columns.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.dataset.artifacts import SAME_IMAGE, SIBLING
from atlas.report.explanation_page import Claim, Neighbour, Picture, Vote, picture_uri
from atlas.report.leak_page import Relation, difference_uri
from atlas.report.leak_plots import score_plot, sibling_plot
from atlas.report.pictures import stretched, to_rgb
from atlas.workflows.embed.lookup import field_of, nearest_known
from atlas.workflows.explain.run_so_far import Leaks, Row, RunSoFar
from atlas.workflows.leaks.pair_difference import LaidOver, laid, lay_over
from atlas.workflows.leaks.pictures import sibling_curves
from atlas.workflows.leaks.report import same_image_in_words, sibling_in_words
from index.claims.leaks import best_first, rivals_of, votes_of
from index.settings import RegistrationSettings

SHOWN_NEIGHBOURS = 8
SIZE_PX = 512  # the size at which images are compared if there is no index

Field = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The images of a run as pictures for a page.

    Attributes:
        run: The run.
        own: The image that is explained, C x S x S; other images are read at its size.
    """

    run: RunSoFar
    own: Field

    def field(self, image_id: str) -> Field:
        """Read the pixels of an image."""
        return field_of(image_id, self.run.spec, self.run.data, self.own.shape[1])

    def rgb(self, field: Field) -> NDArray[np.float32]:
        """Return pixels as colours."""
        return to_rgb(field, self.run.spec.channels)

    def picture(self, image_id: str, said: str) -> Picture:
        """Return an image of the atlas as a picture with a caption."""
        return self.shown(self.field(image_id), said)

    def shown(self, field: Field, said: str) -> Picture:
        """Return pixels as a picture with a caption."""
        return Picture(said=said, uri=picture_uri(self.rgb(field)))

    def channels(self) -> list[Picture]:
        """Return each channel alone in gray; none if there is only one."""
        names = self.run.spec.channels
        if len(names) == 1:
            return []
        planes = zip(names, stretched(self.own), strict=True)
        return [Picture(said=name, uri=picture_uri(plane)) for name, plane in planes]

    def lay_over(self, match: NDArray[np.uint8]) -> LaidOver:
        """Register the image to a match."""
        if self.run.leaks is None:
            return lay_over(self.own, match, RegistrationSettings())
        calibration = self.run.leaks.calibration
        return lay_over(self.own, match, calibration.registration, calibration.law)


def draw_of(name: str, run: RunSoFar) -> Draw:
    """Read the image that is explained."""
    size_px = run.index.image_size_px if run.index else SIZE_PX
    return Draw(run=run, own=field_of(name, run.spec, run.data, size_px))


def candidates(name: str, run: RunSoFar) -> pd.DataFrame:
    """Return the labelled images that were examined, claims first, then by similarity.

    If leaks were not searched for, the index is searched. The columns are those of matches.csv, and
    `votes`.
    """
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
        names = ["match_id", "similarity", "relation", "confidence", "registration_score", "votes"]
        found = pd.DataFrame(rows, columns=names)
    else:
        return pd.DataFrame()
    return found[:SHOWN_NEIGHBOURS]


def neighbour(row: Row, draw: Draw) -> Neighbour:
    """Return a row of `candidates` with its picture.

    The registration score is measured here if matches.csv has none.
    """
    match_id, registration_score, confidence = (
        row["match_id"],
        row["registration_score"],
        row["confidence"],
    )
    field = draw.field(match_id)
    if np.isnan(registration_score):
        registration_score = draw.lay_over(field).found.score
    return Neighbour(
        id=match_id,
        uri=picture_uri(draw.rgb(field)),
        similarity=row["similarity"],
        registration_score=registration_score,
        relation=row["relation"],
        confidence=None if np.isnan(confidence) else confidence,
        labels=draw.run.labels[match_id],
        identity=draw.run.identities[match_id],
        votes=row["votes"],
    )


def claim_of(name: str, leaks: Leaks, draw: Draw) -> Claim | None:
    """Return the claim about an image with its votes, or None."""
    row = leaks.claim_of.get(name)
    if row is None:
        return None
    rivals = rivals_of(best_first(leaks.known(name)))
    votes = votes_of(rivals, draw.run.labels)
    sets = [tuple(sorted(draw.run.labels[i])) for i in rivals["match_id"]]
    total = sum(votes.values()) or 1.0
    match = draw.field(row["match_id"])
    over = draw.lay_over(match) if row["relation"] == SAME_IMAGE else None
    return Claim(
        match_id=row["match_id"],
        relation=row["relation"],
        similarity=row["similarity"],
        registration_score=row["registration_score"],
        confidence=row["confidence"],
        decision=row["decision"],
        reason=row["reason"],
        votes=[
            Vote(labels=labels, share=weight / total, matches=sets.count(labels))
            for labels, weight in sorted(votes.items(), key=lambda vote: -vote[1])
        ],
        pair=_pair(draw, draw.shown(match, f"best match {row['match_id']}"), over),
        geometry=over.geometry_in_words(draw.run.spec.channels) if over else "",
    )


def _pair(draw: Draw, match: Picture, over: LaidOver | None) -> list[Picture]:
    """Return both images; for a copy also the registered image and the difference."""
    own = draw.rgb(draw.own)
    image = Picture(said="this image", uri=picture_uri(own))
    if over is None:
        return [image, match]
    if blocks := over.blocks:
        on_image, on_match = (blocks.transform, "") if blocks.of_match else ("", blocks.transform)
        image = replace(image, outlines=blocks.path, moved=on_image)
        match = replace(match, outlines=blocks.path, moved=on_match)
    registered = Picture(said="registered to the match", uri=picture_uri(laid(own, over.laid_23)))
    apart = Picture(said="difference", uri=difference_uri(over.difference_SS))
    return [image, registered, match, apart]


def rests_on(leaks: Leaks) -> tuple[Relation, ...]:
    """Return what is claimed of all test images, with the thresholds and guarantees."""
    calibration = leaks.calibration
    return (
        same_image_in_words(leaks.claims, calibration.same_image.calibration, leaks.certificate),
        sibling_in_words(leaks.claims, calibration.sibling),
    )


def plots(name: str, leaks: Leaks) -> list[Picture]:
    """Draw where the image lies among copies and non-matches; a sibling also among siblings."""
    registration_score, same = (
        leaks.known(name)["registration_score"].max(),
        leaks.calibration.same_image,
    )
    drawn = score_plot(
        planted=np.array(same.calibration.planted),
        natural=same.natural,
        threshold=same.calibration.threshold,
        own=None if pd.isna(registration_score) else float(registration_score),
    )
    made = [Picture(said="its best candidate, among copies and non-matches", uri=drawn)]
    sibling, row = leaks.calibration.sibling, leaks.claim_of.get(name)
    if row is not None and row["relation"] == SIBLING and sibling.threshold is not None:
        curves, own = sibling_curves(sibling), row["sibling_score"]
        drawn = sibling_plot(curves=curves, threshold=sibling.threshold, own=own)
        made.append(Picture(said="precision of sibling claims by score", uri=drawn))
    return made
