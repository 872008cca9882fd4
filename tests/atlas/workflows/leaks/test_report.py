"""The report of a leak run, on planted copies."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.dataset.artifacts import LEAK_COLUMNS, LeakReport, load_leaks, save_table
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from atlas.synthetic.edits import EDITS, plant, rotated
from atlas.workflows.leaks.calibration import LeakCalibration, SameImageMeasurement
from atlas.workflows.leaks.pair_difference import difference, lay_over, query_to_match
from atlas.workflows.leaks.report import (
    same_image_in_words,
    save_leak_report,
)
from index.copies.calibration import calibrate_same_image, no_siblings
from index.copies.registration import Registration, band_passed
from index.settings import LeakSettings, RegistrationSettings
from tests.conftest import write_field
from tests.index.copies.test_registration import texture
from tests.reference import correlation

SETTINGS = RegistrationSettings()
SIDE = SETTINGS.size_px
IDENTITY = np.eye(2, 3, dtype=np.float32)


def rows(*changes: dict[str, object]) -> LeakReport:
    reported = {
        "Id": "t0", "match_id": "a", "relation": "same_image", "similarity": 0.87654321,
        "registration_score": 0.98765432, "confidence": 0.99, "labels": "1 0",
        "decision": "transfer", "reason": "The image is a copy of a.",
    }  # fmt: skip
    return LeakReport(
        table=pd.DataFrame(
            [{**reported, **change} for change in changes], columns=list(LEAK_COLUMNS)
        )
    )


LEAKS = rows(
    {},
    {
        "Id": "t1",
        "match_id": "b",
        "relation": "sibling",
        "registration_score": np.nan,
        "confidence": 0.9,
    },
    {"Id": "t2", "match_id": "b", "labels": "2", "decision": "abstain", "confidence": 0.95},
)


@pytest.fixture(scope="module")
def calibration() -> LeakCalibration:
    rng = np.random.default_rng(0)
    planted, natural = rng.uniform(0.9, 0.99, 50), rng.uniform(0.1, 0.4, 60)
    return LeakCalibration(
        same_image=SameImageMeasurement(
            calibration=calibrate_same_image(planted, natural, LeakSettings()),
            planted_recall={},
            natural=natural,
            suspected=pd.DataFrame(),
        ),
        sibling=no_siblings("no identity occurs twice"),
        settings=LeakSettings(),
        registration=SETTINGS,
        embedder="planted",
    )


def reported(write_atlas, run: Path, calibration: LeakCalibration, leaks: LeakReport) -> Path:
    """A run's leaks folder. t0 is a rotated copy of a."""
    channels = ("red", "green")
    data = write_atlas(test=("t0", "t1", "t2"), channels=channels, size=(96, 96))
    for folder, image_id, field in (
        ("train", "a", texture(1)),
        ("train", "b", texture(2)),
        ("test", "t0", rotated(texture(1), 3)),
    ):
        write_field(data / folder, image_id, field, channels)
    manifest = read_manifest(data)
    folder = run / "leaks"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "calibration.png"), np.zeros((4, 4), np.uint8))
    save_table(folder / "leaks.csv", leaks.table)
    store = fill_store(manifest, run / "store", size_px=96)
    save_leak_report(folder, store, calibration, spec=manifest.spec, test_images=3)
    return folder


def data_of(page: Path) -> dict:
    text = page.read_text()
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


def test_csv_parquet_and_json_hold_the_same_rows(write_atlas, tmp_path, calibration):
    folder = reported(write_atlas, tmp_path / "run", calibration, LEAKS)
    table = load_leaks(folder / "leaks.csv").table
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "leaks.parquet"), table)
    records = json.loads((folder / "leaks.json").read_text())
    assert [r["registration_score"] for r in records] == [0.987654, None, 0.987654]
    again = pd.DataFrame(records, columns=list(LEAK_COLUMNS)).astype(table.dtypes.to_dict())
    pd.testing.assert_frame_equal(again, table)


def test_the_page_lists_the_least_sure_claim_first(write_atlas, tmp_path, calibration):
    folder = reported(write_atlas, tmp_path / "run", calibration, LEAKS)
    page = data_of(folder / "report.html")
    assert [row["id"] for row in page["rows"]] == ["t1", "t2", "t0"]
    assert [row["before"] for row in page["rows"]] == [None, None, None]
    assert [row["labels"] for row in page["rows"]] == [[1, 0], [2], [1, 0]]
    assert [row["registration_score"] for row in page["rows"]] == [None, 0.987654, 0.987654]
    assert page["labels"] == ["zero", "one", "two"]
    copy = page["rows"][2]
    # Three quarter turns to the left are undone by one more: (x, y) goes to (y, 1 - x).
    np.testing.assert_allclose(copy["laid_23"], [0, 1, 0, -1, 0, 1], atol=0.02)
    said = calibration.same_image.calibration.guarantee.in_words()
    text = (folder / "report.html").read_text()
    assert said[1:] in text
    assert "No identity occurs twice" in text


def test_equal_work_gives_equal_bytes(write_atlas, tmp_path, calibration):
    one, other = (
        reported(write_atlas, tmp_path / name, calibration, LEAKS) for name in ("one", "other")
    )
    for name in ("report.html", "leaks.parquet", "leaks.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_run_without_claims_has_a_report_too(write_atlas, tmp_path, calibration):
    folder = reported(write_atlas, tmp_path / "run", calibration, rows())
    assert data_of(folder / "report.html")["rows"] == []
    empty = pd.read_parquet(folder / "leaks.parquet")
    assert list(empty.columns) == list(LEAK_COLUMNS)
    assert empty["registration_score"].dtype.kind == "f"
    assert json.loads((folder / "leaks.json").read_text()) == []


def test_relations_count_claims_and_transfers(calibration):
    reported = same_image_in_words(LEAKS.table, calibration.same_image.calibration)
    assert (reported.claims, reported.transfers) == (2, 1)
    assert "100.0% of 50 planted copies" in reported.said[0]
    unclear = replace(calibration.same_image.calibration, note="only few")
    assert same_image_in_words(LEAKS.table, unclear).said[-1] == "Only few"


@pytest.mark.parametrize("number", range(8))
def test_the_map_goes_where_the_rotation_went(number):
    """A single white pixel, rotated by the map as by `rotated`."""
    field = np.zeros((1, SIDE, SIDE), np.uint8)
    field[0, 5, 20] = 255
    found = Registration(registration_score=1.0, rotation=number, warp_23=IDENTITY)
    laid = cv2.warpAffine(field[0], query_to_match(found, SIDE), (SIDE, SIDE))
    np.testing.assert_array_equal(laid, rotated(field, number)[0])


def test_the_map_undoes_the_warp():
    warp = np.array([[0.9, 0.02, 3.0], [-0.01, 1.1, -2.0]], np.float32)
    found = Registration(registration_score=1.0, rotation=0, warp_23=warp)
    point = np.array([10.0, 40.0])
    there = warp[:, :2] @ point + warp[:, 2]
    back = query_to_match(found, SIDE)
    np.testing.assert_allclose(back[:, :2] @ there + back[:, 2], point, atol=1e-4)


@given(seed=st.integers(0, 10_000), edit=st.sampled_from(sorted(EDITS)), channels=st.integers(1, 4))
def test_a_planted_copy_differs_little_and_another_picture_much(seed, edit, channels):
    source = texture(seed, channels=channels)
    copy = plant(source, edit, np.random.default_rng(seed))
    of_copy = lay_over(copy, source, SETTINGS).difference_SS
    of_other = lay_over(texture(seed + 20_000, channels=channels), source, SETTINGS).difference_SS
    assert np.sqrt(np.nanmean(of_copy**2)) < 0.6
    assert np.sqrt(np.nanmean(of_other**2)) > 0.8
    assert 0.4 < np.mean(np.isfinite(of_copy)) <= 1


@given(seed=st.integers(0, 10_000), channels=st.integers(1, 4))
def test_its_mean_square_says_the_correlation(seed, channels):
    one, other = (
        band_passed(texture(s, channels=channels), SETTINGS) for s in (seed, seed + 20_000)
    )
    shown = difference(one, other, IDENTITY)
    assert np.isfinite(shown).all()
    assert np.mean(shown**2) == pytest.approx(2 * (1 - correlation(one, other)), abs=1e-3)


def test_what_was_painted_over_shows_where_it_is():
    source = texture(7, channels=2, size=SIDE * 2)
    painted = source.copy()
    painted[:, 20:44, 60:84] = 255 - painted[:, 20:44, 60:84]
    shown = lay_over(rotated(painted, 5), source, SETTINGS).difference_SS
    inside, outside = shown[12:20, 32:40], shown[32:, :24]
    assert np.nanmean(inside) > 5 * np.nanmean(outside)


def test_a_blank_field_differs_without_dividing_by_zero():
    blank = np.full((1, 64, 64), 9, np.uint8)
    assert np.isfinite(lay_over(blank, texture(1, channels=1), SETTINGS).difference_SS).all()
