"""Find the test images that are already known."""

from pathlib import Path

from atlas.cli.console import profiled, run
from atlas.core.timing import stage
from index.settings import HashChoice, LeakSettings, RegistrationSettings


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
    planted_copies: int = LeakSettings.planted_copies,
    natural_queries: int = LeakSettings.natural_queries,
    accept_unproven: bool = LeakSettings.accept_unproven,
    seed: int = LeakSettings.seed,
    profile: bool = False,
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
        planted_copies: edited copies of labelled images that are planted and looked for.
        natural_queries: labelled images that are examined as queries without a copy; the more,
            the more precision can be promised.
        accept_unproven: transfer labels also where the precision asked for is not proven.
        seed: which images are planted and examined for the calibration.
        profile: print what each stage took, and which one holds the rest.
    """
    settings = LeakSettings(
        neighbours=neighbours,
        hashes=hashes,
        copy_precision=copy_precision,
        copy_share=copy_share,
        sibling_precision=sibling_precision,
        sibling_share=sibling_share,
        planted_copies=planted_copies,
        natural_queries=natural_queries,
        accept_unproven=accept_unproven,
        seed=seed,
    )
    with profiled(profile):
        with stage("loading libraries"):
            from atlas.workflows.leaks.finding import find_leaks_of
            from atlas.workflows.leaks.telling import told
        found = find_leaks_of(data, index, out, settings, RegistrationSettings())
    print("\n".join(told(found)))
    print(f"wrote {out}")


if __name__ == "__main__":
    run(main)
