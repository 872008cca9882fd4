"""Draw what augmentation makes of one image."""

from pathlib import Path

from atlas.cli.console import run


def main(
    data: Path = Path("data"),
    out: Path = Path("runs/augmentation.png"),
    image: str | None = None,
    seed: int = 0,
) -> None:
    """Draw what each augmentation makes of one image.

    Args:
        data: The atlas folder.
        out: The PNG to write.
        image: An id of the atlas; the first, unless given.
        seed: Of the draws.
    """
    from atlas.workflows.classify.augmentation_picture import show_augmentation

    shown = show_augmentation(data, out, image_id=image, seed=seed)
    print(f"wrote {out}: what is drawn of {shown} in training")


if __name__ == "__main__":
    run(main)
