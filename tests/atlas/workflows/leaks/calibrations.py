"""A calibration of few scores, for tests of what is made from one."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from atlas.workflows.leaks.calibration import LeakCalibration, SameImageMeasurement
from index.copies.calibration import calibrate_same_image
from index.copies.false_alarms import ASSUMED_LAW, NonMatches
from index.settings import LeakSettings, RegistrationSettings
from index.siblings.calibration import SiblingCalibration, no_siblings


def calibrated(
    *,
    sibling: SiblingCalibration | None = None,
    settings: LeakSettings = LeakSettings(),
    registration: RegistrationSettings = RegistrationSettings(),
    law: NonMatches = ASSUMED_LAW,
    planted_recall: Mapping[str, float] = {},
    candidate_recall: Mapping[str, float] = {},
    further_embedders: tuple[str, ...] = (),
) -> LeakCalibration:
    """Return a calibration by 50 planted copies and 60 labelled images, no two of one identity."""
    rng = np.random.default_rng(0)
    planted, natural = rng.uniform(10, 60, 50), rng.uniform(0, 3, 60)
    independent = np.sort(natural)[::-1][:30]
    return LeakCalibration(
        same_image=SameImageMeasurement(
            calibration=calibrate_same_image(
                planted, natural, independent, settings, candidates=25
            ),
            planted_recall=dict(planted_recall),
            candidate_recall=dict(candidate_recall),
            natural=natural,
            behind=np.zeros(0),
            independent_U=independent,
            suspected=pd.DataFrame(columns=["query_id", "match_id", "registration_score"]),
        ),
        sibling=sibling or no_siblings("no identity occurs twice"),
        settings=settings,
        registration=registration,
        law=law,
        embedder="planted",
        further_embedders=further_embedders,
        references=60,
        identities=60,
    )
