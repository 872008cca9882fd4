import shutil
from pathlib import Path

import numpy as np
import pytest

from atlas.core.errors import MissingStageError, ProvenanceError
from atlas.dataset.verdicts import Verdict, add_verdicts
from atlas.workflows.made_from import save_images
from atlas.workflows.review.queue import LabelsToReview, Queue, read_queue
from tests.atlas.workflows.review.made_run import write_run
from tests.conftest import write_field


def test_each_test_image_is_reviewed_with_its_best_match_among_labelled_images(
    queue: Queue,
) -> None:
    shown = {one.query_id: (one.kind, one.match_id, one.relation) for one in queue.pairs}
    copies = {f"t{n:02}": ("claim", f"r{n:02}", "same_image") for n in range(6)}
    siblings = {f"t{n:02}": ("claim", f"r{n:02}", "sibling") for n in (6, 7, 8)}
    assert shown == copies | siblings | {"t09": ("likely", "r09", "same_image")}


def test_a_pair_says_what_the_scores_say_and_which_labels_follow(queue: Queue) -> None:
    first = {one.query_id: one for one in queue.pairs}["t02"]
    assert (first.similarity, first.registration_score, first.confidence) == (0.9, 42.0, 0.7)
    assert (first.labels, first.before, first.sibling_score) == ((0, 2), (1,), None)
    assert "registration score 42.0" in first.reason
    sibling = {one.query_id: one for one in queue.pairs}["t06"]
    assert sibling.sibling_score == 5.0
    assert sibling.decision == "abstain"


def test_verdicts_do_not_change_what_is_reviewed(folders: tuple[Path, Path]) -> None:
    data, run = folders
    before = read_queue(run, data)
    said = [
        Verdict(query_id=q, match_id=m, query_key=before.key_of[q], match_key=before.key_of[m],
                verdict=verdict)
        for q, m, verdict in [("t00", "r00", "different"), ("t09", "r09", "same"),
                              ("t06", "r06", "different")]
    ]  # fmt: skip
    add_verdicts(run / "verdicts.db", said)
    after = read_queue(run, data)
    assert after.pairs == before.pairs


def test_a_verdict_is_most_useful_where_the_claim_is_doubtful_and_much_depends_on_it(
    queue: Queue,
) -> None:
    useful = {one.query_id: one.usefulness for one in queue.pairs}
    assert useful["t00"] == pytest.approx(0.01 * 4 * 0.9 * 0.1)
    assert useful["t01"] == pytest.approx(0.02 * 4 * 0.8 * 0.2)  # a loss is as useful as a gain
    assert useful["t05"] == 0  # equal pixels leave no doubt
    assert useful["t07"] == pytest.approx(0.03)  # the median gain, for a coin toss


def test_without_a_submission_only_the_doubt_counts_and_labels_before_are_unknown(
    tmp_path: Path,
) -> None:
    data, run = write_run(tmp_path, submission=False, audit=False)
    queue = read_queue(run, data)
    assert queue.labels == ()
    for one in queue.pairs:
        assert one.before is None
        assert one.usefulness == pytest.approx(4 * one.confidence * (1 - one.confidence))


def test_labels_are_reviewed_that_are_more_probably_wrong_than_right(queue: Queue) -> None:
    assert queue.labels == (
        LabelsToReview(image_id="r00", labels=(0,), suggested=(1, 2), suspicion=0.9,
                       reason="The image lacks label 1."),
        LabelsToReview(image_id="r01", labels=(1,), suggested=(0,), suspicion=0.6,
                       reason="The image lacks label 0."),
    )  # fmt: skip


def test_every_image_has_a_key_and_every_item_its_own_name(queue: Queue) -> None:
    items = [*queue.pairs, *queue.labels]
    assert len(queue.items) == len(items)
    assert {image_id for one in items for image_id in one.ids} == set(queue.key_of)


def test_a_run_without_leaks_or_index_names_the_command(tmp_path: Path) -> None:
    data, run = write_run(tmp_path)
    shutil.rmtree(run / "index")
    with pytest.raises(MissingStageError, match="build-index"):
        read_queue(run, data)
    shutil.rmtree(run / "leaks")
    with pytest.raises(MissingStageError, match="find-leaks"):
        read_queue(run, data)


def test_images_that_were_replaced_since_the_search_are_noticed(
    folders: tuple[Path, Path],
) -> None:
    data, run = folders
    save_images(run / "leaks", read_queue(run, data).key_of)
    write_field(data / "test", "t03", np.zeros((2, 128, 128), np.uint8), ("red", "green"))
    with pytest.raises(ProvenanceError, match="t03"):
        read_queue(run, data)


def test_pairs_whose_image_is_missing_are_left_out(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    data, run = folders
    whole = read_queue(run, data)
    (data / "test" / "t03_red.png").unlink()
    left = read_queue(run, data)
    assert left.pairs == tuple(one for one in whole.pairs if one.query_id != "t03")
    assert "1 of the things to review" in caplog.text
