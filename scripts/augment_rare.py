"""Write an atlas with more images of its rare labels."""

from pathlib import Path

from tyro.conf import OmitArgPrefixes

from atlas.cli.console import run
from atlas.workflows.settings import RareSettings


def main(
    settings: OmitArgPrefixes[RareSettings],
    data: Path = Path("data"),
    out: Path = Path("data_augmented"),
    dry_run: bool = False,
) -> None:
    """Write an atlas with more images of its rare labels, to train classifiers on.

    The same tables and images, and changed copies of images that carry a rare label, each with its
    Parent, from which no hold-out and no fold parts it.

    Args:
        settings: How many, and how they are changed.
        data: The atlas folder.
        out: The atlas folder to write.
        dry_run: Only tell what would be made; the tables suffice for that.
    """
    from atlas.workflows.curate.rare_augmentation import augment_rare, plan_of, told

    found = plan_of(data, settings) if dry_run else augment_rare(data, out, settings)
    print("\n".join(told(found, None if dry_run else out)))


if __name__ == "__main__":
    run(main)
