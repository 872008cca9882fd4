"""Find the test images that are already known."""

from pathlib import Path

from index.settings import HashChoice, LeakSettings, RegistrationSettings
from scripts.console import run


def main(
    data: Path = Path("data"),
    index: Path = Path("runs/index"),
    out: Path = Path("runs/leaks"),
    neighbours: int = LeakSettings.neighbours,
    hashes: HashChoice = LeakSettings.hashes,
    copy_precision: float = LeakSettings.copy_precision,
    copy_share: float = LeakSettings.copy_share,
    sibling_precision: float = LeakSettings.sibling_precision,
    sibling_share: float = LeakSettings.sibling_share,
    natural_queries: int = LeakSettings.natural_queries,
    accept_unproven: bool = LeakSettings.accept_unproven,
    seed: int = LeakSettings.seed,
) -> None:
    """Find the test images that are already known, and what labels follow.

    Args:
        data: the atlas folder.
        index: what build_index.py wrote from the same data.
        out: where matches.csv, leaks.csv, calibration.json and pictures go.
        neighbours: candidates that are examined for each test image.
        hashes: perceptual hash that proposes candidates too, in all flips and turns; rule_2018 is
            phash within 14, 12 and 10 bits in red, green and blue.
        copy_precision: precision that same_image claims should have.
        copy_share: share of test images expected to be copies; precision is meant at it.
        sibling_precision: precision that sibling claims should have.
        sibling_share: share of test images expected to be siblings.
        natural_queries: labelled images that are examined as queries without a copy; the more,
            the more precision can be promised.
        accept_unproven: transfer labels also where the precision asked for is not proven.
        seed: which images are planted and examined for the calibration.
    """
    from pipeline.leak_finding import find_leaks_of

    settings = LeakSettings(
        neighbours=neighbours,
        hashes=hashes,
        copy_precision=copy_precision,
        copy_share=copy_share,
        sibling_precision=sibling_precision,
        sibling_share=sibling_share,
        natural_queries=natural_queries,
        accept_unproven=accept_unproven,
        seed=seed,
    )
    found = find_leaks_of(data, index, out, settings, RegistrationSettings())
    calibration, leaks = found.calibration, found.leaks.table
    same, sibling = calibration.same_image.calibration, calibration.sibling
    print(
        f"same_image: cut at correlation {same.cut:.3f}, which {same.recall_at_cut:.3f} of "
        f"{len(same.planted)} planted copies reach; {same.suspected} of {same.natural_count} "
        f"labelled images have a neighbour that reaches it too (suspected_copies.csv)"
    )
    if same.note:
        print(f"same_image: {same.note}")
    print(f"same_image: {same.promise.in_words()}")
    if sibling.cut is None:
        print(f"sibling: none is claimed: {sibling.note}")
    else:
        print(
            f"sibling: cut at similarity {sibling.cut:.3f}, which finds "
            f"{sibling.recall_at_cut:.3f} of {sibling.known_count} held-out fields"
        )
    if sibling.promise:
        print(f"sibling: {sibling.promise.in_words()}")
    for relation in ("same_image", "sibling"):
        claims = leaks[leaks["relation"] == relation]
        transfers = int((claims["decision"] == "transfer").sum())
        print(
            f"{relation}: claimed for {len(claims)} of {len(found.best_evidence_N)} test images, "
            f"labels transferred for {transfers}"
        )
    print(f"wrote {out}")


if __name__ == "__main__":
    run(main)
