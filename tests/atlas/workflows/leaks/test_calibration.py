"""What a leak run measured is read back as it was."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from atlas.core.errors import UserError, command_line
from atlas.workflows.leaks.calibration import (
    LeakCalibration,
    load_calibration,
    load_certificate,
    save_calibration,
    save_certificate,
)
from index.copies.false_alarms import NonMatches
from index.settings import LeakSettings, RegistrationSettings
from index.siblings.calibration import calibrate_sibling
from tests.atlas.workflows.leaks.calibrations import calibrated
from tests.index.siblings.made import sibling_trials_of


@pytest.fixture
def calibration() -> LeakCalibration:
    rng = np.random.default_rng(0)
    trials = sibling_trials_of(
        rng.uniform(0.8, 0.99, 60), np.arange(60) % 9 > 0, rng.uniform(0.1, 0.9, 50)
    )
    return calibrated(
        sibling=calibrate_sibling(trials, LeakSettings()),
        settings=LeakSettings(neighbours=7),
        registration=RegistrationSettings(dimmest=2.0),
        law=NonMatches(aligned=0.5, pattern=("01", "10")),
        planted_recall={"crop": 0.75},
        candidate_recall={"crop": 0.75},
        further_embedders=("others",),
    )


def test_it_is_read_back_as_it_was(calibration: LeakCalibration, tmp_path: Path) -> None:
    save_calibration(tmp_path, calibration)
    again = load_calibration(tmp_path)
    assert again.same_image.calibration == calibration.same_image.calibration
    assert again.sibling == calibration.sibling
    assert again.settings == calibration.settings
    assert again.registration == calibration.registration
    assert again.law == calibration.law
    assert again.embedder == calibration.embedder
    assert again.further_embedders == calibration.further_embedders
    assert (again.references, again.identities) == (60, 60)
    for scores in ("natural", "independent_U"):
        np.testing.assert_array_equal(
            getattr(again.same_image, scores), getattr(calibration.same_image, scores)
        )


def test_a_certificate_is_read_back_as_it_was(calibration: LeakCalibration, tmp_path: Path) -> None:
    certificate = calibration.certificate(np.linspace(0, 50, 100), claims=40)
    save_certificate(tmp_path, certificate)
    assert load_certificate(tmp_path) == certificate


def test_a_grown_index_is_guaranteed_less_however_often_it_is_updated(
    calibration: LeakCalibration, tmp_path: Path
) -> None:
    """An update writes the calibration, and the next one reads it."""
    ids = [str(n) for n in range(5 * calibration.references)]
    index = SimpleNamespace(ids=ids, identities=dict.fromkeys(ids, None))
    search = SimpleNamespace(index=index, settings=calibration.settings)
    scores = np.linspace(0, 50, 100)
    for _ in range(3):
        calibration = calibration.for_gallery(search)  # type: ignore[arg-type]
        assert calibration.same_image.calibration.guarantee.unknown_count == 30 // 5
        assert calibration.certificate(scores, claims=40).unknown_count == 30 // 5
        assert calibration.sibling.threshold is None
        save_calibration(tmp_path, calibration)
        calibration = load_calibration(tmp_path)


def test_labels_are_transferred_if_the_guarantee_or_the_certificate_shows_the_precision(
    calibration: LeakCalibration,
) -> None:
    """30 independent queries do not guarantee 0.99 at a share of 2.6%; they allow a few claims to
    be false, which are few of many."""
    assert not calibration.same_image.calibration.guarantee.reached
    few = calibration.certificate(np.linspace(0, 3, 100), claims=40)
    assert "same_image" in calibration.unproven(few)
    shown = replace(few, claims=10_000, false_at_most=10)
    assert "same_image" not in calibration.unproven(shown)
    assert "same_image" in calibration.unproven(replace(shown, distance=0.3))  # unlike the labelled


def test_further_indexes_are_known_by_their_places_in_the_run(
    calibration: LeakCalibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are named as the user typed them, and found from another folder and in a moved run."""
    (tmp_path / "run" / "leaks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    settings = replace(calibration.settings, further_indexes=("run/second",))
    save_calibration(tmp_path / "run" / "leaks", replace(calibration, settings=settings))
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    again = load_calibration(Path("leaks"))
    assert again.settings.further_indexes == (str(moved / "second"),)


@pytest.mark.parametrize(
    ("part", "name"),
    [("sibling", "bounds"), ("registration", "dimmest"), ("law", "aligned")],
)
def test_one_of_an_earlier_version_is_refused_in_one_line(
    calibration: LeakCalibration, tmp_path: Path, part: str, name: str
) -> None:
    save_calibration(tmp_path, calibration)
    path = tmp_path / "calibration.json"
    stored = json.loads(path.read_text())
    stored[part]["of_old"] = stored[part].pop(name)
    path.write_text(json.dumps(stored))
    with pytest.raises(UserError, match=f"another version .*{command_line('find_leaks')}"):
        load_calibration(tmp_path)


def test_the_hardest_edit_of_planted_copies_is_named(calibration: LeakCalibration) -> None:
    measured = replace(
        calibration.same_image,
        planted_recall={"crop": 0.9, "jpeg": 0.75},
        candidate_recall={"crop": 1.0, "jpeg": 1.0},
    )
    assert measured.recall_in_words == (
        "the source of a planted copy is a candidate in all cases; the copy reaches the threshold "
        "in at least 75% of the cases of each edit (fewest: jpeg)"
    )
