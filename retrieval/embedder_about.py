"""What an embedder's folder says of it: read without torch, whose loading takes seconds."""

from pathlib import Path
from typing import Any

from atlas.errors import UserError
from atlas.files import read_json

ABOUT_FILE = "embedder.json"
MADE_BY = "python scripts/train_embedder.py"


def read_about(folder: Path) -> dict[str, Any]:
    """kind, settings, channels, image_size_px, provenance, fingerprint, as JSON holds them.

    Raises MissingStageError where there is no embedder, UserError where it is damaged.
    """
    about = read_json(folder / ABOUT_FILE, made_by=MADE_BY)
    try:
        about["channels"] = tuple(about["channels"])
        about["image_size_px"] = int(about["image_size_px"])
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder) from error
    return dict(about)


def damaged(folder: Path) -> UserError:
    return UserError(f"{folder / ABOUT_FILE} is damaged; make it again: {MADE_BY}")
