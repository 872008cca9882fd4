"""Groups of copies in a review: what is shown, and what people say about them."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import MissingStageError
from atlas.dataset.chosen_images import ChosenImage, chosen_images
from atlas.dataset.verdicts import Choice, add_verdicts, new_token, read_verdicts
from atlas.workflows.made_from import save_images
from atlas.workflows.review.groups import GroupToReview
from atlas.workflows.review.queue import Queue, read_queue
from atlas.workflows.review.verdicts import Place, Review, Said
from tests.atlas.workflows.review.made_run import write_run
from tests.conftest import write_field


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return write_run(tmp_path, leaks=False, submission=False, audit=False, groups=True)


@pytest.fixture
def review(queue: Queue) -> Review:
    return Review(queue)


def said(review: Review, image: str | None, verdict: str | None = "kept", **more: object) -> Said:
    groups = review.queue.groups
    group = next((one for one in groups if image in one.ids), groups[0])
    row = {
        "token": new_token(), "name": group.name, "version": review.version(group),
        "reviewer": "Ann", "image": image, "verdict": verdict,
    }  # fmt: skip
    return Said(**{**row, **more})


def test_groups_are_reviewed_without_leaks_and_test_images(folders: tuple[Path, Path]) -> None:
    data, run = folders
    (data / "sample_submission.csv").unlink()
    queue = read_queue(run, data)
    assert (queue.pairs, queue.labels) == ((), ())
    assert [one.ids for one in queue.groups] == [("r00", "r03", "r06"), ("r01", "r02")]
    assert {image_id for one in queue.groups for image_id in one.ids} == set(queue.key_of)
    shutil.rmtree(run / "duplicates")
    with pytest.raises(MissingStageError, match="find-leaks"):
        read_queue(run, data)


def test_a_group_says_what_the_policy_keeps_and_what_differs(queue: Queue) -> None:
    first, second = queue.groups
    assert (first.policy, first.reason) == ("r00", "first of 3 images")
    assert (first.label_sets, second.label_sets) == (1, 2)
    assert second.usefulness > first.usefulness  # copies with other labels come first
    copy = second.by_id["r02"]
    assert (copy.split, copy.labels, copy.measured) == ("train", (0, 2), "sharpness 0.2")
    assert (copy.width_px, copy.height_px, copy.made_from) == (128, 128, "")


def test_groups_follow_images_that_were_removed_or_replaced(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    data, run = folders
    save_images(run / "duplicates", read_queue(run, data).key_of)
    table = pd.read_csv(data / "train.csv", dtype=str)
    table[~table["Id"].isin(["r02", "r06"])].to_csv(data / "train.csv", index=False)
    assert [one.ids for one in read_queue(run, data).groups] == [("r00", "r03")]
    assert not caplog.records
    write_field(data / "train", "r03", np.zeros((2, 128, 128), np.uint8), ("red", "green"))
    assert read_queue(run, data).groups == ()
    assert "written: 1; run" in caplog.text
    assert "atlas remove-duplicates" in caplog.text


def made_from(data: Path, child: str, parent: str) -> None:
    table = pd.read_csv(data / "train.csv", dtype=str)
    table.assign(Parent=[parent if i == child else "" for i in table["Id"]]).to_csv(
        data / "train.csv", index=False
    )


def test_an_image_that_was_made_from_another_one_cannot_replace_it(
    folders: tuple[Path, Path],
) -> None:
    data, run = folders
    made_from(data, "r03", "r00")
    review = Review(read_queue(run, data))
    row = said(review, "r03")
    assert "was made from r00" in review.add([row]).refused[row.token]
    made_from(data, "r03", "r10")  # which is not in the group
    review = Review(read_queue(run, data))
    assert review.add([said(review, "r03")]).refused == {}


def test_a_choice_is_in_the_file_and_is_followed(review: Review) -> None:
    row = said(review, "r03")
    assert review.add([row, row]).saved == (row.token, row.token)
    file = read_verdicts(review.path)
    (kept,) = file.choices
    assert (kept.id, kept.key, kept.choice) == ("r03", review.queue.key_of["r03"], "kept")
    groups = dict.fromkeys(("r00", "r03", "r06"), "r00")
    chosen = chosen_images(file, groups, review.queue.key_of)
    assert chosen == {"r00": ChosenImage(image_id="r03", reviewers=("Ann",))}
    review.add([said(review, "r03", "withdrawn")])
    assert chosen_images(read_verdicts(review.path), groups, review.queue.key_of) == {}


def test_two_images_of_a_group_are_judged_as_a_pair(review: Review) -> None:
    review.add([said(review, "r00", "different", other="r06")])
    judged = read_verdicts(review.path).judged(review.queue.key_of)
    assert dict(judged.pairs) == {("r00", "r06"): "different"}
    rows, _ = review.since(Place())
    assert [(row.name, {row.image, row.other}, row.verdict) for row in rows] == [
        (review.queue.groups[0].name, {"r00", "r06"}, "different")
    ]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"image": "r01"}, "not in this group"),
        ({"image": None}, "not in this group"),
        ({"other": "r01", "verdict": "different"}, "not in this group"),
        ({"verdict": "same"}, "a choice is missing"),
        ({"verdict": None}, "a choice is missing"),
        ({"verdict": "kept", "other": "r03"}, "a verdict is missing"),
        ({"verdict": "different", "other": "r00"}, "have equal files"),
        ({"version": "another"}, "replaced"),
    ],
)
def test_what_makes_no_sense_is_refused(review: Review, changes: dict, why: str) -> None:
    row = said(review, "r00")
    row = Said(**{**vars(row), **changes})
    assert why in review.add([row]).refused[row.token]
    assert not review.path.exists()


def test_a_browser_learns_what_stands_and_not_what_is_older(review: Review) -> None:
    review.add([said(review, "r03"), said(review, "r06", reviewer="Bo")])
    key = review.queue.key_of["r00"]
    old = Choice(id="r00", key=key, reviewer="Ann", time="2020-01-01T00:00:00.000+00:00")
    rows, place = review.since(Place())
    assert [(row.reviewer, row.verdict, row.image) for row in rows] == [
        ("Ann", "kept", "r03"), ("Bo", "kept", "r06")
    ]  # fmt: skip
    add_verdicts(review.path, choices=[old])  # such as from an old table
    rows, place = review.since(place)
    assert {(row.reviewer, row.image) for row in rows} == {("Ann", "r03"), ("Bo", "r06")}
    review.add([said(review, "r06", "withdrawn", reviewer="Bo")])
    rows, place = review.since(place)
    assert ("Bo", "withdrawn", None) in [(row.reviewer, row.verdict, row.image) for row in rows]
    assert review.since(place) == ([], place)


def test_a_large_group_has_a_short_version(review: Review) -> None:
    group = review.queue.groups[0]
    assert isinstance(group, GroupToReview)
    assert len(review.version(group)) <= 64
