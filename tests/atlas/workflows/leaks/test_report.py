"""The report of a leak run, on planted copies."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.dataset.artifacts import LEAK_COLUMNS, LeakReport, load_leaks, save_table
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from atlas.dataset.verdicts import Verdict, add_verdicts, now, read_verdicts, verdicts_beside
from atlas.synthetic.edits import EDITS, plant, rotated
from atlas.workflows.leaks.calibration import LeakCalibration
from atlas.workflows.leaks.pair_difference import affine, difference, laid, lay_over
from atlas.workflows.leaks.report import (
    listed_claims,
    same_image_in_words,
    save_leak_report,
)
from index.copies.agreement import Pictures, band_passed
from index.copies.registration import Registration
from index.settings import RegistrationSettings
from tests.atlas.workflows.leaks.calibrations import calibrated
from tests.conftest import write_field
from tests.reference import correlation
from tests.textures import texture

SETTINGS = RegistrationSettings()
LOOK = SETTINGS.looks[0]


def rows(*changes: dict[str, object]) -> LeakReport:
    reported = {
        "Id": "t0", "match_id": "a", "relation": "same_image", "similarity": 0.87654321,
        "registration_score": 98.7654321, "confidence": 0.99, "labels": "1 0",
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
    return calibrated(
        registration=SETTINGS,
        planted_recall={"crop": 0.75, "gamma": 1.0},
        candidate_recall={"crop": 0.875, "gamma": 1.0},
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
    certificate = calibration.certificate(np.array([99.0, 98.0, 1.0]), claims=2)
    save_leak_report(
        folder, store, calibration, certificate, spec=manifest.spec, test_images=3,
        verdicts=read_verdicts(verdicts_beside(folder)),
    )  # fmt: skip
    return folder


def data_of(page: Path) -> dict:
    text = page.read_text()
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


def test_csv_parquet_and_json_hold_the_same_rows(write_atlas, tmp_path, calibration):
    folder = reported(write_atlas, tmp_path / "run", calibration, LEAKS)
    table = load_leaks(folder / "leaks.csv").table
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "leaks.parquet"), table)
    records = json.loads((folder / "leaks.json").read_text())
    assert [r["registration_score"] for r in records] == [98.765432, None, 98.765432]
    again = pd.DataFrame(records, columns=list(LEAK_COLUMNS)).astype(table.dtypes.to_dict())
    pd.testing.assert_frame_equal(again, table)


def test_copies_are_listed_before_siblings_and_the_least_certain_first(
    write_atlas, tmp_path, calibration
):
    folder = reported(write_atlas, tmp_path / "run", calibration, LEAKS)
    page = data_of(folder / "report.html")
    assert [row["id"] for row in page["rows"]] == ["t2", "t0", "t1"]
    assert [row["labels"] for row in page["rows"]] == [[2], [1, 0], [1, 0]]
    assert [row["registration_score"] for row in page["rows"]] == [98.765432, 98.765432, None]
    assert not page["submitted"]
    assert page["labels"] == ["zero", "one", "two"]
    copy = page["rows"][1]
    # Three quarter turns to the left are undone by one more: (x, y) goes to (y, 1 - x).
    np.testing.assert_allclose(copy["laid_23"], [0, 1, 0, -1, 0, 1], atol=0.02)
    assert copy["geometry"].startswith("Geometry of the query: rotated by 90°. ")
    assert "1" in "".join(copy["blocks"]["rows"])
    sibling = page["rows"][2]
    assert (sibling["geometry"], sibling["blocks"]) == ("", None)
    said = calibration.same_image.calibration.guarantee.in_words()
    text = (folder / "report.html").read_text()
    assert said[1:] in text
    assert "the 2 claims on these test images are false at 95% confidence" in text
    assert "No identity occurs twice" in text
    edits = text.split("Planted copies by edit")[1].split("</table>")[0]
    shown = [re.sub("<[^>]*>", " ", row).split() for row in edits.split("<tr>")[2:]]
    assert shown == [["crop", "88%", "75%"], ["gamma", "100%", "100%"]]


def test_a_page_that_cannot_list_all_claims_lists_the_least_certain(monkeypatch):
    monkeypatch.setattr("atlas.workflows.leaks.report.MOST_CLAIMS", 2)
    assert list(listed_claims(LEAKS.table)["Id"]) == ["t2", "t1"]


def test_the_page_shows_the_verdicts_of_the_run(write_atlas, tmp_path, calibration):
    folder = reported(write_atlas, tmp_path / "run", calibration, LEAKS)
    (copy,) = (row for row in data_of(folder / "report.html")["rows"] if row["id"] == "t0")
    given = Verdict(
        reviewer="Ann", verdict="same", query_id="t0", match_id="a", time=now(),
        query_key=copy["query_key"], match_key=copy["match_key"],
    )  # fmt: skip
    other = replace(given, token="other", query_key="of a picture that was replaced")
    (tmp_path / "seen").mkdir()
    add_verdicts(tmp_path / "seen" / "verdicts.db", [given, other])
    seen = reported(write_atlas, tmp_path / "seen", calibration, LEAKS)
    shown = {row["id"]: row["verdicts"] for row in data_of(seen / "report.html")["rows"]}
    assert shown == {
        "t0": [{"reviewer": "Ann", "verdict": "same", "time": given.time}], "t1": [], "t2": []
    }  # fmt: skip


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
    measured = calibration.same_image.calibration
    certificate = calibration.certificate(np.array([99.0, 98.0, 1.0]), claims=2)
    reported = same_image_in_words(LEAKS.table, measured, certificate)
    assert (reported.claims, reported.transfers) == (2, 1)
    assert "100.0% of 50 planted copies" in reported.said[0]
    unclear = replace(measured, note="only few")
    assert same_image_in_words(LEAKS.table, unclear, certificate).said[-1] == "Only few"


@pytest.mark.parametrize("number", range(8))
def test_a_rotated_query_is_laid_over_its_match(number):
    """The middle is compared, because the edges are interpolated."""
    match = texture(1, channels=3)
    over = lay_over(rotated(match, number), match, SETTINGS)
    query, other = (
        np.moveaxis(field, 0, 2).astype(np.float32) for field in (rotated(match, number), match)
    )
    apart = np.abs(laid(query, over.laid_23) - other)[8:-8, 8:-8]
    assert apart.mean() < 0.1 * other.std()


def test_the_affine_map_is_the_inverse_of_an_affine_registration():
    map_33 = np.array([[0.9, 0.02, 0.05], [-0.01, 1.1, -0.03], [0.0, 0.0, 1.0]])
    back = np.vstack([affine(map_33), [0, 0, 1]])
    np.testing.assert_allclose(back @ map_33, np.eye(3), atol=1e-6)


@settings(max_examples=25)
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
        Pictures(texture(s, channels=channels), SETTINGS).at(LOOK.size_px)
        for s in (seed, seed + 20_000)
    )
    shown = difference(one, other, Registration(score=1.0), LOOK)
    assert np.isfinite(shown).all()
    banded = (np.moveaxis(band_passed(picture, LOOK), 2, 0) for picture in (one, other))
    assert np.mean(shown**2) == pytest.approx(2 * (1 - correlation(*banded)), abs=1e-3)


def test_what_was_painted_over_shows_where_it_is():
    """It is in 24 to 48 down and 64 to 88 across of the 128 pixels that are compared."""
    source = texture(7, channels=2, size=2 * LOOK.size_px)
    painted = source.copy()
    painted[:, 48:96, 128:176] = 255 - painted[:, 48:96, 128:176]
    over = lay_over(rotated(painted, 5), source, SETTINGS)
    inside, outside = over.difference_SS[28:44, 68:84], over.difference_SS[64:, :48]
    assert np.nanmean(inside) > 5 * np.nanmean(outside)
    boxes_B4 = LOOK.size_px * over.agreeing_B4
    assert over.of_match
    across_B = (boxes_B4[:, 0] + boxes_B4[:, 2]) / 2
    down_B = (boxes_B4[:, 1] + boxes_B4[:, 3]) / 2
    painted_B = (down_B > 28) & (down_B < 44) & (across_B > 68) & (across_B < 84)
    assert not painted_B.any()
    assert len(boxes_B4) > 60


def test_a_crop_says_what_is_shown_and_where_blocks_agree():
    """The query shows 32 to 96 of 128 pixels along both axes of its match."""
    source = texture(3, channels=1)
    over = lay_over(source[:, 32:96, 32:96], source, SETTINGS)
    assert "scaled by 2.0" in over.geometry_in_words(["gray"])
    assert "% of the match is shown" in over.geometry_in_words(["gray"])
    blocks = over.blocks
    assert blocks is not None
    assert blocks.of_match
    count = sum(row.count("1") for row in blocks.rows)
    assert count == len(over.agreeing_B4) == blocks.path.count("M")
    assert blocks.left > 0.2
    assert blocks.left + blocks.side * len(blocks.rows[0]) < 0.8
    # The middle of the match is the middle of the query.
    np.testing.assert_allclose(
        np.reshape(blocks.onto_23, (2, 3)) @ [0.5, 0.5, 1.0], [0.5, 0.5], atol=0.02
    )


def test_a_negative_with_other_channels_differs_little():
    source = texture(5, channels=3)
    over = lay_over(255 - source[[1, 2, 0]], source, SETTINGS)
    said = over.geometry_in_words(["red", "green", "blue"])
    assert "a negative, channels in the order blue, red, green" in said
    assert np.sqrt(np.nanmean(over.difference_SS**2)) < 0.6


def test_a_blank_field_differs_without_dividing_by_zero():
    blank = np.full((1, 64, 64), 9, np.uint8)
    over = lay_over(blank, texture(1, channels=1), SETTINGS)
    assert np.isfinite(over.difference_SS).all()
    assert over.blocks is None
    assert over.geometry_in_words(["gray"]) == "The pictures could not be aligned."
