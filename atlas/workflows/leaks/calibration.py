"""What a leak run measured, and how: `calibration.json`, written and read back."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from atlas.core.errors import Stage, UserError
from atlas.core.files import read_json, write_json
from atlas.dataset.artifacts import load_table, save_table
from atlas.workflows.leaks.measurement import SameImageMeasurement
from index.copies.calibration import SameImageCalibration, SiblingCalibration
from index.copies.guarantee import Promise
from index.settings import LeakSettings, RegistrationSettings

CALIBRATION_FILE = "calibration.json"
SUSPECTED_FILE = "suspected_copies.csv"
SIBLING_CURVES = ("scores", "precisions", "bounds", "recalls")


@dataclass(frozen=True, kw_only=True)
class LeakCalibration:
    """embedder: the fingerprint of whose candidates the cuts speak."""

    same_image: SameImageMeasurement
    sibling: SiblingCalibration
    settings: LeakSettings
    registration: RegistrationSettings
    embedder: str


def save_calibration(folder: Path, calibration: LeakCalibration) -> None:
    """Writes calibration.json and suspected_copies.csv."""
    same_image = calibration.same_image
    write_json(
        folder / CALIBRATION_FILE,
        {
            "same_image": asdict(same_image.calibration),
            "sibling": asdict(calibration.sibling),
            "planted_recall": same_image.planted_recall,
            "natural": same_image.natural.tolist(),
            "settings": asdict(calibration.settings),
            "registration": asdict(calibration.registration),
            "embedder": calibration.embedder,
        },
    )
    save_table(folder / SUSPECTED_FILE, same_image.suspected)


def load_calibration(folder: Path) -> LeakCalibration:
    """Raises MissingStageError naming the command that makes it, UserError for one of an earlier
    version."""
    path = folder / CALIBRATION_FILE
    stored = read_json(path, stage=Stage.LEAKS)
    suspected = load_table(folder / SUSPECTED_FILE, stage=Stage.LEAKS)
    try:
        return _restored(stored, suspected)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path}: of an earlier version ({error}); run  {Stage.LEAKS.command}"
        ) from error


def _restored(stored: dict[str, Any], suspected: pd.DataFrame) -> LeakCalibration:
    same, sibling = stored["same_image"], stored["sibling"]
    return LeakCalibration(
        same_image=SameImageMeasurement(
            calibration=SameImageCalibration(
                **{**same, "planted": tuple(same["planted"]), "promise": _promise(same["promise"])}
            ),
            planted_recall=stored["planted_recall"],
            natural=np.array(stored["natural"], float),
            suspected=suspected,
        ),
        sibling=SiblingCalibration(
            **{
                **sibling,
                **{name: tuple(sibling[name]) for name in SIBLING_CURVES},
                "promise": _promise(sibling["promise"]),
            }
        ),
        settings=LeakSettings(**stored["settings"]),
        registration=_registration(stored["registration"]),
        embedder=stored["embedder"],
    )


def _registration(stored: dict[str, Any]) -> RegistrationSettings:
    """JSON has lists where the settings have tuples."""
    scales = {name: tuple(stored[name]) for name in ("scales", "strip_scales")}
    return RegistrationSettings(**{**stored, **scales})


def _promise(stored: dict[str, Any] | None) -> Promise | None:
    return None if stored is None else Promise(**stored)
