"""The report of a search for leaks: its page, and its claims as Parquet and JSON."""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.files import write_json, written_beside
from atlas.core.parallel import by_threads
from atlas.core.progress import progress
from atlas.dataset.artifacts import SAME_IMAGE, SIBLING, load_leaks
from atlas.dataset.labels import parse_labels
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.store import ImageStore
from atlas.dataset.verdicts import Pair, Verdicts, sorted_pair
from atlas.report.leak_page import (
    MOST_CLAIMS,
    Claim,
    GivenVerdict,
    LeakPage,
    PlantedEdit,
    Relation,
    difference_uri,
    given_verdicts,
    save_leak_page,
    sheet_uri,
    tile_side_px,
)
from atlas.workflows.leaks.calibration import LeakCalibration, SameImageMeasurement
from atlas.workflows.leaks.pair_difference import lay_over
from atlas.workflows.leaks.pictures import COPY_PLOT, SIBLING_PLOT
from atlas.workflows.run_folder import LEAKS_FILE, REPORT_FILE
from index.claims.leaks import TRANSFER
from index.copies.calibration import SameImageCalibration
from index.copies.certificate import Certificate
from index.siblings.calibration import SiblingCalibration

CLAIMS_READ_AT_ONCE = 32
PLOTS = {
    "Calibration of the same_image threshold": COPY_PLOT,
    "Calibration of the sibling threshold": SIBLING_PLOT,
}

Row = Mapping[Hashable, Any]


def save_leak_report(
    folder: Path,
    store: ImageStore,
    calibration: LeakCalibration,
    certificate: Certificate,
    *,
    spec: AtlasSpec,
    test_images: int,
    verdicts: Verdicts,
) -> None:
    """Write report.html, leaks.parquet and leaks.json into a folder with leaks.csv and plots.

    Args:
        folder: The folder.
        store: The images.
        calibration: The thresholds and guarantees.
        certificate: How many of the claims of copies can be false.
        spec: The names of the atlas and its labels.
        test_images: The number of test images.
        verdicts: What people have said so far, which the page shows.
    """
    table = load_leaks(folder / LEAKS_FILE).table
    with written_beside(folder / "leaks.parquet") as beside:
        table.to_parquet(beside, engine="pyarrow", index=False)
    write_json(folder / "leaks.json", _records(table))
    listed = min(len(table), MOST_CLAIMS)
    tile_px = tile_side_px(listed, len(store.channels))
    page = LeakPage(
        title=f"Known test images of {spec.name}",
        test_images=test_images,
        relations=(
            same_image_in_words(table, calibration.same_image.calibration, certificate),
            sibling_in_words(table, calibration.sibling),
        ),
        planted=_planted(calibration.same_image),
        plots={title: folder / name for title, name in PLOTS.items() if (folder / name).exists()},
        channels=store.channels,
        labels=spec.labels,
        tile_px=tile_px,
        claims=_claims(table, store, calibration, given_verdicts(verdicts), tile_px),
        left_out=len(table) - listed,
    )
    save_leak_page(folder / REPORT_FILE, page)


def _planted(measured: SameImageMeasurement) -> list[PlantedEdit]:
    found = (
        PlantedEdit(edit=edit, proposed=measured.candidate_recall[edit], found=share)
        for edit, share in measured.planted_recall.items()
    )
    return sorted(found, key=lambda one: (one.found, one.proposed, one.edit))


def same_image_in_words(
    table: pd.DataFrame, measured: SameImageCalibration, certificate: Certificate
) -> Relation:
    """Return the number of copies, and their threshold, guarantee and certificate in sentences."""
    reported = (
        "a registration score of 6 means that one pair of different images in 10^6 agrees as well; "
        f"{measured.recall_at_threshold:.1%} of {len(measured.planted):,} planted copies reach the "
        "threshold"
    )
    said = (
        reported, measured.guarantee.in_words(), certificate.in_words(), certificate.warning(),
        measured.note,
    )  # fmt: skip
    return _relation(table, SAME_IMAGE, measured.threshold, said)


def sibling_in_words(table: pd.DataFrame, measured: SiblingCalibration) -> Relation:
    """Return the number of siblings, and their threshold and guarantee in sentences."""
    return _relation(table, SIBLING, measured.threshold, measured.in_words() or [measured.note])


def _relation(
    table: pd.DataFrame,
    name: str,
    threshold: float | None,
    said: Sequence[str],
) -> Relation:
    claimed = table["relation"] == name
    return Relation(
        name=name,
        claims=int(claimed.sum()),
        transfers=int((claimed & (table["decision"] == TRANSFER)).sum()),
        threshold=threshold,
        said=tuple(sentence[0].upper() + sentence[1:] for sentence in said if sentence),
    )


def listed_claims(table: pd.DataFrame) -> pd.DataFrame:
    """Return the least certain claims: copies before siblings, the least certain of each first."""
    ranked = table.sort_values(["confidence", "registration_score", "similarity"], kind="stable")
    return ranked.head(MOST_CLAIMS).sort_values(
        "relation", key=lambda relations: relations != SAME_IMAGE, kind="stable"
    )


def _claims(
    table: pd.DataFrame,
    store: ImageStore,
    calibration: LeakCalibration,
    given: Mapping[Pair, tuple[GivenVerdict, ...]],
    tile_px: int,
) -> list[Claim]:
    rows = _records(listed_claims(table))
    claim = partial(_claim, calibration=calibration, store=store, given=given, tile_px=tile_px)
    claims: list[Claim] = []
    with progress("drawing claims", total=len(rows)) as shown:
        for start in range(0, len(rows), CLAIMS_READ_AT_ONCE):
            block = rows[start : start + CLAIMS_READ_AT_ONCE]
            fields = (store.read([row[name] for row in block]) for name in ("Id", "match_id"))
            # Threads suffice, because OpenCV releases Python's global lock.
            claims += by_threads(lambda one: claim(*one), zip(block, *fields, strict=True))
            shown.update(len(block))
    return claims


def _claim(
    row: Row,
    query: NDArray[np.uint8],
    match: NDArray[np.uint8],
    *,
    calibration: LeakCalibration,
    store: ImageStore,
    given: Mapping[Pair, tuple[GivenVerdict, ...]],
    tile_px: int,
) -> Claim:
    is_copy = row["relation"] == SAME_IMAGE
    over = lay_over(query, match, calibration.registration, calibration.law)
    query_key, match_key = store.image_keys([row["Id"], row["match_id"]])
    return Claim(
        id=row["Id"],
        match_id=row["match_id"],
        query_key=query_key,
        match_key=match_key,
        relation=row["relation"],
        similarity=row["similarity"],
        registration_score=row["registration_score"],
        confidence=row["confidence"],
        labels=parse_labels(row["labels"]),
        decision=row["decision"],
        reason=row["reason"],
        sheet=sheet_uri(query, match, tile_px),
        difference=difference_uri(over.difference_SS),
        laid_23=tuple(round(float(x), 5) for x in over.laid_23.flat),
        geometry=over.geometry_in_words(store.channels) if is_copy else "",
        blocks=over.blocks if is_copy else None,
        verdicts=given.get(sorted_pair(query_key, match_key), ()),
    )


def _records(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Return the rows with None for unknown values, which JSON calls null."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
