import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from atlas.dataset.manifest import read_tables
from atlas.dataset.verdicts import new_token, read_verdicts
from atlas.workflows.review.queue import Queue, read_queue
from atlas.workflows.review.verdicts import Place, Review, Said, SaidBefore
from index.claims.review_certificate import certify, random_order


@pytest.fixture
def review(queue: Queue) -> Review:
    return Review(queue)


def name_of(review: Review, image_id: str) -> str:
    return next(name for name, one in review.queue.items.items() if one.ids[0] == image_id)


def said(review: Review, image_id: str, verdict: str | None = None, **more: object) -> Said:
    name = name_of(review, image_id)
    version = review.version(review.queue.items[name])
    row = Said(token=new_token(), name=name, version=version, reviewer="Ann", verdict=verdict)
    return replace(row, **more)


def test_a_verdict_is_in_the_file_under_the_ids_and_keys_of_its_images(review: Review) -> None:
    row = said(review, "t00", "same")
    assert review.add([row]).saved == (row.token,)
    (kept,) = read_verdicts(review.path).verdicts
    assert (kept.query_id, kept.match_id, kept.verdict) == ("t00", "r00", "same")
    assert (kept.query_key, kept.match_key) == tuple(review.queue.key_of[i] for i in ("t00", "r00"))
    assert (kept.reviewer, kept.token) == ("Ann", row.token)


def test_corrected_labels_are_in_the_file_and_can_be_taken_back(review: Review) -> None:
    review.add([said(review, "r00", labels=(1, 2)), said(review, "r01", labels=(0,))])
    review.add([said(review, "r01", labels=None)])
    assert [(c.id, c.labels) for c in read_verdicts(review.path).corrections] == [
        ("r00", (1, 2)), ("r01", (0,)), ("r01", None)
    ]  # fmt: skip


def labels_now(review: Review) -> dict[str, tuple[int, ...] | None]:
    return {row.id: row.labels for row in read_tables(review.queue.data).rows}


def test_the_labels_of_the_atlas_follow_corrections(review: Review) -> None:
    (review.queue.data / "corrections.csv").write_text("Id,Target\nr05,1\n")  # by hand
    before = labels_now(review)
    review.add([said(review, "r00", labels=(1, 2)), said(review, "r01", labels=(2,))])
    assert labels_now(review) == before | {"r00": (1, 2), "r01": (2,)}
    review.add([said(review, "r01", labels=None)])
    review.add([said(review, "r00", labels=(0,), reviewer="Bo")])  # now they disagree
    assert labels_now(review) == before
    assert before["r05"] == (1,)


def test_corrections_that_a_killed_review_did_not_write_are_written_later(review: Review) -> None:
    review.add([said(review, "r00", labels=(1, 2))])
    (review.queue.data / "corrections.csv").unlink()
    Review(review.queue).write_corrections()
    assert labels_now(review)["r00"] == (1, 2)


def test_verdicts_on_pairs_do_not_touch_the_atlas(review: Review) -> None:
    review.add([said(review, "t00", "same")])
    review.write_corrections()
    assert not (review.queue.data / "corrections.csv").exists()


def test_a_row_that_is_sent_again_is_acknowledged_and_added_once(review: Review) -> None:
    row = said(review, "t00", "same")
    assert review.add([row]) == review.add([row])
    assert len(read_verdicts(review.path).verdicts) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "0" * 16}, "not a part of the review"),
        ({"version": "another"}, "replaced"),
        ({"verdict": None}, "missing"),
    ],
)
def test_rows_that_cannot_be_kept_are_refused_and_others_are_saved(
    review: Review, changes: dict, why: str
) -> None:
    good, bad = said(review, "t01", "same"), replace(said(review, "t00", "same"), **changes)
    added = review.add([bad, good])
    assert added.saved == (good.token,)
    assert why in added.refused[bad.token]
    assert [one.query_id for one in read_verdicts(review.path).verdicts] == ["t01"]


@pytest.mark.parametrize(
    ("labels", "why"),
    [((0, 3), "label 3 is out of range 0\N{EN DASH}2"), ((), "must have a label")],
)
def test_labels_that_an_atlas_cannot_have_are_refused(
    review: Review, labels: tuple[int, ...], why: str
) -> None:
    row = said(review, "r00", labels=labels)
    assert why in review.add([row]).refused[row.token]
    assert not review.path.exists()


def test_a_browser_learns_what_others_have_said_since_it_last_asked(review: Review) -> None:
    rows, place = review.since(Place())
    assert (rows, place) == ([], Place())
    review.add([said(review, "t00", "same")])
    rows, place = review.since(place)
    assert rows == [SaidBefore(name=name_of(review, "t00"), reviewer="Ann", verdict="same")]
    other = Review(review.queue)  # such as another server on the same run
    other.add([said(review, "t01", "different", reviewer="Bo"), said(review, "r00", labels=(1,))])
    rows, place = review.since(place)
    assert [(row.name, row.reviewer, row.verdict, row.labels) for row in rows] == [
        (name_of(review, "t01"), "Bo", "different", None),
        (name_of(review, "r00"), "Ann", None, (1,)),
    ]
    assert review.since(place) == ([], place)


def test_verdicts_hold_for_images_that_have_new_ids(
    folders: tuple[Path, Path], review: Review
) -> None:
    data, run = folders
    review.add([said(review, "t00", "same")])
    for table in (data / "sample_submission.csv", run / "leaks" / "matches.csv"):
        table.write_text(table.read_text().replace("t00", "renamed"))
    for channel in ("red", "green"):
        os.rename(data / "test" / f"t00_{channel}.png", data / "test" / f"renamed_{channel}.png")
    for folder in ("submission", "leaks"):
        for file in (run / folder).glob("contents.json"):
            file.unlink()
    renamed = Review(read_queue(run, data))
    rows, _ = renamed.since(Place())
    assert [row.name for row in rows] == [name_of(renamed, "renamed")]


def test_every_row_of_many_threads_is_added_once(review: Review) -> None:
    rows = [said(review, f"t0{n % 9}", "same", reviewer=f"reviewer {n}") for n in range(40)]

    def send() -> None:
        for row in rows:
            assert review.add([row]).saved == (row.token,)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [one.token for one in read_verdicts(review.path).verdicts]
    assert sorted(found) == sorted(row.token for row in rows)
    assert len(review.since(Place())[0]) == len(rows)


def test_samples_hold_the_claims_that_a_certificate_is_about_in_random_order(
    review: Review,
) -> None:
    copies = [(f"t{n:02}", f"r{n:02}") for n in range(5)]
    siblings = [(f"t{n:02}", f"r{n:02}") for n in (6, 7, 8)]
    assert review.samples == {"same_image": random_order(copies), "sibling": random_order(siblings)}


def test_the_certificate_counts_unsure_and_disputed_verdicts_as_wrong(queue: Queue) -> None:
    review = Review(queue, reviewer_error=0.02)
    order = [query for query, _ in review.samples["same_image"]]
    review.add([said(review, order[0], "same"), said(review, order[1], "unsure")])
    review.add([said(review, order[2], "same"), said(review, order[2], "different", reviewer="Bo")])
    right = dict(zip(review.samples["same_image"], [True, False, False], strict=False))
    found = review.certificates()["same_image"]
    assert found == certify(review.samples["same_image"], right, error_rate=0.02)
    assert (found.claims, found.looked_at, found.right) == (5, 3, 1)


def test_a_sibling_that_is_the_same_picture_is_a_right_sibling_but_no_copy_is_a_sibling(
    review: Review,
) -> None:
    for relation, verdict in (("sibling", "same"), ("same_image", "sibling")):
        review.add([said(review, query, verdict) for query, _ in review.samples[relation]])
    found = review.certificates()
    assert (found["sibling"].right, found["sibling"].looked_at) == (3, 3)
    assert (found["same_image"].right, found["same_image"].looked_at) == (0, 5)
