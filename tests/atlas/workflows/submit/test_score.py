import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import DataError, MissingStageError
from atlas.dataset.artifacts import LEAK_COLUMNS, LeakReport
from atlas.workflows.submit.label_score import (
    Answers,
    claim_gains,
    class_scores,
    read_answers,
    relation_scores,
    top_changes,
)
from atlas.workflows.submit.score import score_leaks, score_run
from tests.conftest import write_tiny_atlas

TRUTH = pd.DataFrame(
    [
        ("t1", "same_image", "a", "crop", "0 1"),
        ("t2", "same_image", "b", "d4", "1"),
        ("t3", "sibling", "X", "", "0"),
        ("t4", "novel", "Y", "", "2"),
        ("t5", "novel", "Y", "", "2"),
    ],
    columns=["Id", "relation", "source", "edit", "Target"],
)
IDENTITIES = {"a": "X", "b": ""}
WITHOUT = {"t1": "0", "t2": "1", "t3": "0", "t4": "2", "t5": "0"}
WITH = WITHOUT | {"t1": "1 0"}
CLAIMED_TRUTH = pd.DataFrame(
    [
        ("t1", "same_image", "a", "crop", "1"),
        ("t2", "same_image", "b", "crop", "2"),
        ("t3", "same_image", "c", "d4", "0"),
        ("t4", "sibling", "X", "", "1"),
        ("t5", "sibling", "Y", "", "1"),
        ("t6", "novel", "", "", "2"),
        ("t7", "novel", "", "", "0"),
        ("t8", "unsure", "a", "", "1"),
    ],
    columns=["Id", "relation", "source", "edit", "Target"],
)
CLAIMED_IDENTITIES = {"a": "X", "b": "Y", "c": "Z"}
NO_SIBLINGS = pd.DataFrame(columns=["Id", "identity", "sibling_score"])
BESIDE = {"labels": {"a": (1,), "b": (2,), "c": (0,), "gone": ()}, "siblings": NO_SIBLINGS}


def write_submission(folder: Path, name: str, rows: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # In another order than the truth's: rows are joined by id.
    lines = [f"{image_id},{labels}\n" for image_id, labels in sorted(rows.items())]
    (folder / name).write_text("".join(["Id,Predicted\n", *lines]))


def answers_of(submission: Path, truth: pd.DataFrame) -> Answers:
    """Return the answers, with a copy and two siblings claimed."""
    claims = pd.DataFrame(
        {"Id": ["t1", "t3", "t5"], "relation": ["same_image", "sibling", "sibling"]}
    )
    leaks = LeakReport(table=claims.reindex(columns=list(LEAK_COLUMNS), fill_value=""))
    return read_answers(submission, truth, IDENTITIES, leaks, 3)


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    write_submission(tmp_path / "submission", "submission.csv", WITH)
    write_submission(tmp_path / "submission", "submission_without_transfer.csv", WITHOUT)
    return tmp_path / "submission"


def test_with_and_without_transfer_by_relation_worked_by_hand(submission: Path) -> None:
    shuffled = TRUTH.iloc[[3, 0, 4, 2, 1]]
    scores = relation_scores(answers_of(submission, shuffled))
    found = {score.relation: score for score in scores}
    assert list(found) == ["all", "same_image", "sibling", "novel"]
    # With: label 0: 2 hits, 3 given, 2 true; 1: all right; 2: 1 hit, 1 given, 2 true.
    assert found["all"].with_transfer.value == pytest.approx((4 / 5 + 1 + 2 / 3) / 3)
    # Without, label 1: 1 hit, 1 given, 2 true.
    assert found["all"].without_transfer.value == pytest.approx((4 / 5 + 2 / 3 + 2 / 3) / 3)
    assert found["all"].difference.value == pytest.approx(1 / 9)
    # Of the copies, labels 0 and 1 alone count; of the others, label 2.
    copies = found["same_image"]
    assert (copies.images, copies.labels) == (2, 2)
    assert copies.with_transfer.value == 1
    assert copies.without_transfer.value == pytest.approx((1 + 2 / 3) / 2)
    assert found["novel"].with_transfer.value == pytest.approx(2 / 3)
    assert found["novel"].difference.value == 0
    # t1 shows antibody X as t3 does; t2's source has none; t4 and t5 are of Y.
    assert {name: score.groups for name, score in found.items()} == {
        "all": 3, "same_image": 2, "sibling": 1, "novel": 1
    }  # fmt: skip
    for score in scores:
        low, high = score.difference.interval
        assert low <= score.difference.value <= high


def test_the_gain_of_copies_alone_and_of_siblings_alone_worked_by_hand(submission: Path) -> None:
    write_submission(submission, "submission.csv", WITH | {"t3": "2", "t5": "2"})
    scores = {score.relation: score for score in claim_gains(answers_of(submission, TRUTH))}
    assert {name: score.rows for name, score in scores.items()} == {"same_image": 1, "sibling": 2}
    # Copies: only label 1 changes, from 2/3 to 1.
    assert scores["same_image"].difference.value == pytest.approx(1 / 9)
    # Siblings: label 0 has 1 hit, 1 given, 2 true; label 2 has 2 hits, 3 given, 2 true.
    assert scores["sibling"].macro_f1.value == pytest.approx((2 / 3 + 2 / 3 + 4 / 5) / 3)
    assert scores["sibling"].difference.value == pytest.approx(0)


def test_by_class_before_and_after(submission: Path) -> None:
    table = class_scores(answers_of(submission, TRUTH), ("zero", "one", "two"))
    assert table["images"].tolist() == [2, 2, 2]
    np.testing.assert_allclose(table["f1_without"], [4 / 5, 2 / 3, 2 / 3])
    np.testing.assert_allclose(table["f1_with"], [4 / 5, 1, 2 / 3])
    assert top_changes(table, 5)["name"].tolist() == ["one"]


def test_top_changes_go_both_ways_largest_first() -> None:
    table = pd.DataFrame({"label": range(4), "difference": [0.1, -0.3, 0.0, 0.2]})
    assert top_changes(table, 2)["label"].tolist() == [1, 3]
    assert top_changes(table, 9)["label"].tolist() == [1, 3, 0]


def write_run(folder: Path) -> tuple[Path, Path]:
    data, run = write_tiny_atlas(folder / "data", test=list(TRUTH["Id"])), folder / "run"
    TRUTH.to_csv(data / "truth.csv", index=False)
    for stage in ("leaks", "index"):
        (run / stage).mkdir(parents=True)
    (run / "leaks" / "leaks.csv").write_text(
        "Id,match_id,relation,similarity,registration_score,sibling_score,confidence,labels,"
        "decision,reason\n"
        "t1,a,same_image,0.9,0.9,,0.9,0 1,transfer,because\n"
    )
    (run / "leaks" / "siblings.csv").write_text("Id,identity,sibling_score\n")
    (run / "index" / "references.csv").write_text("Id,Target,Identity\na,0 1,X\nb,2,\n")
    return data, run


def test_a_run_is_scored_as_far_as_it_went(tmp_path: Path) -> None:
    data, run = write_run(tmp_path)
    assert score_run(data, run).labels is None
    write_submission(run / "submission", "submission.csv", WITH)
    with pytest.raises(MissingStageError, match="submission_without_transfer"):
        score_run(data, run)
    write_submission(run / "submission", "submission_without_transfer.csv", WITHOUT)
    scored = score_run(data, run)
    assert scored.summary.startswith(
        "1 of 2 copies were found, 0 were claimed with a wrong source, and 0 other images were "
        "falsely claimed to be copies; the macro F1 is "
    )
    assert json.loads((run / "score.json").read_text())["leaks"]["wrong_source"]["count"] == 0
    assert scored.written == (run / "score.json", run / "score_by_class.csv")
    assert scored.leaks.copies_by_edit["all"].count == 1
    assert scored.labels is not None
    written = pd.read_csv(run / "score_by_class.csv")
    assert written["name"].tolist() == ["zero", "one", "two"]
    first = (run / "score.json").read_bytes()
    score_run(data, run)
    assert (run / "score.json").read_bytes() == first


def test_a_damaged_submission_is_refused_with_all_that_is_wrong(tmp_path: Path) -> None:
    data, run = write_run(tmp_path)
    write_submission(run / "submission", "submission.csv", {"t1": "", "t2": "9"})
    with pytest.raises(DataError) as caught:
        score_run(data, run)
    assert len(caught.value.problems) == 3


def test_a_truth_of_labels_alone_scores_the_labels(tmp_path: Path) -> None:
    data, run = write_run(tmp_path)
    TRUTH[["Id", "Target"]].to_csv(data / "truth.csv", index=False)
    write_submission(run / "submission", "submission.csv", WITH)
    write_submission(run / "submission", "submission_without_transfer.csv", WITHOUT)
    scored = score_run(data, run)
    assert scored.labels is not None
    assert [score.relation for score in scored.labels.by_relation] == ["all"]
    assert scored.labels.by_relation[0].groups == len(TRUTH)
    leaks = scored.leaks  # no relation is known, so nothing is right or wrong
    shares = [*leaks.copies_by_edit.values(), leaks.false_copies, leaks.sibling_precision]
    assert [str(share) for share in shares] == ["0 of 0"] * 3


def test_a_run_without_a_truth_says_what_is_missing(tmp_path: Path) -> None:
    data, run = write_run(tmp_path)
    (data / "truth.csv").unlink()
    with pytest.raises(DataError, match=r"no truth\.csv"):
        score_run(data, run)


def claimed(*claims: tuple[str, str, str]) -> LeakReport:
    table = pd.DataFrame(claims, columns=["Id", "match_id", "relation"])
    return LeakReport(table=table.reindex(columns=list(LEAK_COLUMNS)))


def test_by_a_hand_worked_example():
    found = score_leaks(
        claimed(
            ("t1", "a", "same_image"),  # right
            ("t2", "c", "same_image"),  # a copy, but of another image
            ("t4", "a", "sibling"),  # right identity
            ("t5", "a", "sibling"),  # wrong identity
            ("t6", "b", "same_image"),  # false
            ("t7", "b", "sibling"),  # wrong: not a sibling at all
            ("t8", "a", "same_image"),  # unsure: on neither side
        ),
        CLAIMED_TRUTH,
        CLAIMED_IDENTITIES,
        by_edit=True,
        **BESIDE,
    )
    counts = {edit: (share.count, share.of) for edit, share in found.copies_by_edit.items()}
    assert counts == {"all": (1, 3), "crop": (1, 2), "d4": (0, 1)}
    assert (found.wrong_source.count, found.wrong_source.of) == (1, 3)
    assert found.wrong_source_ids == ("t2",)
    assert (found.missed.count, found.missed.of) == (1, 3)
    assert (found.false_copies.count, found.false_copies.of) == (1, 4)
    assert found.false_copy_ids == ("t6",)
    assert (found.sibling_precision.count, found.sibling_precision.of) == (1, 3)
    assert (found.sibling_recall.count, found.sibling_recall.of) == (1, 2)
    assert (found.sibling_labels.count, found.sibling_labels.of) == (2, 3)
    assert found.sibling_identified is None  # two novel images cannot show a rate of 1%


def test_siblings_are_identified_above_all_but_one_in_a_hundred_novel_images():
    ids = [f"n{n}" for n in range(200)] + ["s0", "s1", "s2", "s3"]
    relation, source = ["novel"] * 200 + ["sibling"] * 4, [""] * 200 + ["X"] * 4
    truth = pd.DataFrame(
        {"Id": ids, "relation": relation, "source": source, "edit": "", "Target": "0"}
    )
    scores = [*np.linspace(0, 1, 200), 0.9999, 0.98, 2.0, 3.0]
    identities = ["Y"] * 200 + ["X", "X", "X", "Y"]
    siblings = pd.DataFrame({"Id": ids, "identity": identities, "sibling_score": scores})
    beside = BESIDE | {"siblings": siblings}
    found = score_leaks(claimed(), truth, CLAIMED_IDENTITIES, by_edit=False, **beside)
    assert str(found.sibling_identified).startswith("2 of 4")


@pytest.mark.parametrize(
    ("claim", "found", "wrong", "missed"),
    [
        (("t1", "a", "same_image"), 1, 0, 2),
        (("t1", "b", "same_image"), 0, 1, 2),
        (("t1", "gone", "same_image"), 0, 1, 2),  # not among the references any more
        (("t1", "a", "sibling"), 0, 0, 3),
        (("t1", "gone", "sibling"), 0, 0, 3),
        (("t6", "a", "same_image"), 0, 0, 3),
    ],
)
def test_each_copy_is_found_or_has_a_wrong_source_or_is_missed(claim, found, wrong, missed):
    scored = score_leaks(claimed(claim), CLAIMED_TRUTH, CLAIMED_IDENTITIES, by_edit=True, **BESIDE)
    assert scored.copies_by_edit["all"].count == found
    assert scored.wrong_source.count == wrong
    assert scored.missed.count == missed
    assert scored.sibling_precision.count == scored.sibling_recall.count == 0


def test_claims_of_images_that_the_truth_does_not_name_do_not_count():
    leaks = claimed(("t4", "a", "sibling"), ("other", "a", "sibling"), ("new", "a", "same_image"))
    found = score_leaks(leaks, CLAIMED_TRUTH, CLAIMED_IDENTITIES, by_edit=False, **BESIDE)
    assert (found.sibling_precision.count, found.sibling_precision.of) == (1, 1)
    assert found.false_copies.count == 0


def test_no_claims_find_nothing_and_claim_nothing_falsely():
    found = score_leaks(claimed(), CLAIMED_TRUTH, CLAIMED_IDENTITIES, by_edit=False, **BESIDE)
    assert set(found.copies_by_edit) == {"all"}
    assert found.copies_by_edit["all"].count == 0
    assert found.false_copies.count == 0


def test_intervals_are_clopper_pearson():
    one = claimed(("t1", "a", "same_image"))
    found = score_leaks(one, CLAIMED_TRUTH, CLAIMED_IDENTITIES, by_edit=False, **BESIDE)
    # 1 of 3: bounds from the beta quantiles, worked by hand with a table.
    assert found.copies_by_edit["all"].interval == pytest.approx((0.0084, 0.9057), abs=1e-4)
    # None of 4: 1 - 0.025 ** (1 / 4).
    assert found.false_copies.interval == pytest.approx((0.0, 1 - 0.025**0.25))
