"""What an embedder's folder says of it: read without torch, whose loading takes seconds."""

from pathlib import Path
from typing import Any

from atlas.core.errors import DataError, MissingStageError, Stage, UserError
from atlas.core.files import read_json
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import native_size_px

ABOUT_FILE = "embedder.json"
FROZEN = "frozen"  # in place of an embedder: a pretrained backbone as it is


def read_about(folder: Path) -> dict[str, Any]:
    """kind, settings, channels, image_size_px, provenance, fingerprint, as JSON holds them.

    Raises MissingStageError where there is no embedder, UserError where it is damaged.
    """
    about = read_json(folder / ABOUT_FILE, stage=Stage.EMBEDDER)
    try:
        about["channels"] = tuple(about["channels"])
        about["image_size_px"] = int(about["image_size_px"])
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder) from error
    return dict(about)


def damaged(folder: Path) -> UserError:
    return UserError(f"{folder / ABOUT_FILE} is damaged; make it again: {Stage.EMBEDDER.command}")


# What embeds, as a user names it: "frozen", or the folder of an embedder; without torch.


def embedded_size_px(source: str, manifest: Manifest) -> int:
    """The side of the images that it embeds.

    Raises MissingStageError where there is none, DataError where it learned from other channels,
    UserError where it is damaged.
    """
    if source == FROZEN:
        return native_size_px(manifest)
    if not Path(source).exists():
        raise MissingStageError(
            source, Stage.EMBEDDER, hint="or give --embedder frozen, which needs no training"
        )
    about = read_about(Path(source))
    require_channels(source, about["channels"], manifest)
    return int(about["image_size_px"])


def require_channels(source: str, channels: tuple[str, ...], manifest: Manifest) -> None:
    if channels != manifest.spec.channels:
        own, given = ", ".join(channels), ", ".join(manifest.spec.channels)
        raise DataError(source, [f"trained on channels {own}; the data has {given}"])
