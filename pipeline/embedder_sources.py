"""What embeds, as a user names it: "frozen", or the folder of an embedder; without torch."""

from pathlib import Path

from atlas.errors import DataError, MissingStageError
from atlas.manifest import Manifest
from atlas.store import native_size_px
from pipeline.settings import FROZEN
from retrieval.embedder_about import MADE_BY, read_about


def embedded_size_px(source: str, manifest: Manifest) -> int:
    """The side of the images that it embeds.

    Raises MissingStageError where there is none, DataError where it learned from other channels,
    UserError where it is damaged.
    """
    if source == FROZEN:
        return native_size_px(manifest)
    if not Path(source).exists():
        raise MissingStageError(
            f"{source} is not there: run first  {MADE_BY}  "
            "(or give --embedder frozen, which needs no training)"
        )
    about = read_about(Path(source))
    require_channels(source, about["channels"], manifest)
    return int(about["image_size_px"])


def require_channels(source: str, channels: tuple[str, ...], manifest: Manifest) -> None:
    if channels != manifest.spec.channels:
        own, given = ", ".join(channels), ", ".join(manifest.spec.channels)
        raise DataError(source, [f"trained on channels {own}; the data has {given}"])
