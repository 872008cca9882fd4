"""Planted claims for the page of a leak run."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from atlas.report.agreeing_blocks import AgreeingBlocks
from atlas.report.leak_page import (
    Claim,
    ClaimCount,
    LeakPage,
    PlantedEdit,
    Relation,
    Submitted,
    difference_uri,
    save_leak_page,
    sheet_uri,
    with_submission,
)

SIDE = 32
PLANTED = (PlantedEdit(edit="rotated_crop", proposed=0.95, found=0.9),)
LABELS = ("Nucleoplasm", "Golgi apparatus", "Cytosol</script><b>")
QUARTER_ROTATION = (0.0, 1.0, 0.0, -1.0, 0.0, 1.0)  # (x, y) -> (y, 1 - x), to the left

# Two blocks of the match, and where they are in the query: the rotation to the right.
BLOCKS = AgreeingBlocks(
    of_match=True, left=0.25, top=0.0, side=0.25, rows=("10", "01"),
    onto_23=(0.0, -1.0, 1.0, 1.0, 0.0, 0.0),
)  # fmt: skip


def field(red: int, green: int) -> np.ndarray:
    """Return two uniform channels with a white corner, to which the contrast is stretched."""
    planes = np.stack([np.full((SIDE, SIDE), value, np.uint8) for value in (red, green)])
    planes[:, :4, :4] = 255
    return planes


SHEET = sheet_uri(field(200, 0), field(0, 200), SIDE)
DIFFERENCE = difference_uri(np.full((SIDE, SIDE), 0.5, np.float32))


def claim(image_id: str, **changes: object) -> Claim:
    reported = {
        "id": image_id, "match_id": f"m{image_id}", "query_key": f"key of {image_id}",
        "match_key": f"key of m{image_id}", "relation": "same_image", "similarity": 0.9,
        "registration_score": 42.1, "confidence": 0.99, "labels": (1,),
        "decision": "transfer", "reason": f"why {image_id}", "sheet": SHEET,
        "difference": DIFFERENCE, "laid_23": QUARTER_ROTATION,
        "geometry": f"how {image_id} was made", "blocks": BLOCKS,
    }  # fmt: skip
    return Claim(**{**reported, **changes})


CLAIMS = [
    claim("a", similarity=0.91, registration_score=8.04, confidence=0.991),
    claim("b", similarity=0.70, registration_score=97.2, confidence=0.999),
    claim(
        "c",
        similarity=0.85,
        registration_score=None,
        confidence=0.96,
        relation="sibling",
        labels=(0, 2),
        geometry="",
        blocks=None,
    ),
    claim("d", similarity=0.60, registration_score=20.0, confidence=0.995, decision="abstain"),
    claim(
        "<i>e</i>",
        similarity=0.99,
        registration_score=130.5,
        confidence=0.992,
        labels=(2,),
    ),
]


def as_claimed(claims: Sequence[Claim]) -> dict[str, Submitted]:
    """Return a submission that follows all claims; the classifier gives "<i>e</i>" label 2."""
    return {
        one.id: Submitted(
            match_id=one.match_id,
            decision=one.decision,
            reason=one.reason,
            confidence=one.confidence,
            before=(2,) if one.id == "<i>e</i>" else (0, 1),
        )
        for one in claims
    }


def saved(path: Path, claims: list[Claim], *, tile_px: int = SIDE, left_out: int = 0) -> Path:
    plot = path.with_name("plot.png")
    cv2.imwrite(str(plot), np.zeros((4, 4), np.uint8))
    relations = [
        Relation(
            name=name,
            claims=sum(c.relation == name for c in claims),
            transfers=sum(c.relation == name and c.decision == "transfer" for c in claims),
            threshold=threshold,
            said=(f"{name} rests on this",),
        )
        for name, threshold in (("same_image", 6.284), ("sibling", None))
    ]
    page = LeakPage(
        title="Known images of <drawn>", test_images=50, relations=relations, planted=PLANTED,
        plots={"the threshold": plot}, channels=("red", "green"), labels=LABELS, tile_px=tile_px,
        claims=claims, left_out=left_out,
    )  # fmt: skip
    save_leak_page(path, page)
    return path


def submitted(path: Path, claims: list[Claim]) -> Path:
    """Save a page as of a submission, with the labels before the transfer."""
    saved(path, claims)
    counts = {
        name: ClaimCount(
            claims=sum(one.relation == name for one in claims),
            transfers=sum(one.relation == name and one.decision == "transfer" for one in claims),
        )
        for name in ("same_image", "sibling")
    }
    path.write_text(with_submission(path.read_text(), as_claimed(claims), {}, counts))
    return path
