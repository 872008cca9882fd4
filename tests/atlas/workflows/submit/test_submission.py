import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import UserError
from atlas.core.files import write_json
from atlas.dataset.artifacts import (
    LEAK_COLUMNS,
    LeakReport,
    ProbabilitySet,
    save_probabilities,
    save_table,
)
from atlas.dataset.verdicts import Verdict, add_verdicts
from atlas.workflows.classify.ensemble import ensemble
from atlas.workflows.submit.submission import (
    Override,
    Overrides,
    make_submission,
    merge,
    weigh_overrides,
)
from classify.decisions.settings import DecisionSettings
from classify.decisions.thresholds import Thresholds, save_thresholds
from index.claims.expected_gain import HeldOut, Shares
from tests.atlas.report.planted_claims import claim, saved
from tests.conftest import write_tiny_atlas


def leak(image_id: str, *, decision: str, labels: str = "2", relation: str = "same_image") -> dict:
    return {
        "Id": image_id, "match_id": "m", "relation": relation,
        "similarity": 0.9, "registration_score": 42.1,
        "confidence": 0.99, "labels": labels, "decision": decision, "reason": "because",
    }  # fmt: skip


def report(*rows: dict) -> LeakReport:
    return LeakReport(table=pd.DataFrame(rows, columns=list(LEAK_COLUMNS)))


def probabilities(rows: dict[str, list[float]]) -> ProbabilitySet:
    return ProbabilitySet(
        ids=tuple(rows), probabilities_NC=np.array(list(rows.values()), np.float32), provenance={}
    )


def override(*, made: bool, gain: float = 0.01) -> Override:
    return Override(made=made, judged=True, right=0.9, gain=gain, error=0.001)


SHARES = Shares(right=0.9, one_off=0.05, random=0.05)


def test_an_image_without_probabilities_is_named():
    claims = report(leak("q", decision="transfer")).table
    same = np.full((4, 3), 0.5)
    held_out = HeldOut(submitted_HC=same, judging_HC=same, truth_HC=np.eye(4, 3, dtype=np.uint8))
    with pytest.raises(UserError, match="1 of 1 images have no row: q"):
        weigh_overrides(
            claims, same[:1], probabilities({"x": [0.1, 0.1, 0.1]}), np.zeros((1, 3), np.uint8),
            held_out, seed=0,
        )  # fmt: skip


def test_claims_are_weighed_by_id_and_say_whether_their_labels_were_judged():
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 3)) < [0.5, 0.5, 0.1]).astype(np.uint8)
    said = np.clip(0.8 * truth + 0.1, 0, 1)
    held_out = HeldOut(submitted_HC=said, judging_HC=said, truth_HC=truth)
    tests = probabilities({i: [0.9, 0.1, 0.1] for i in "abcd"})
    claims = report(leak("d", decision="transfer"), leak("a", decision="transfer")).table
    predicted = np.tile(np.array([1, 0, 0], np.uint8), (4, 1))
    judging = np.array([[np.nan] * 3, [0.9, 0.1, 0.1]])
    found = weigh_overrides(claims, judging, tests, predicted, held_out, seed=0).by_id
    assert list(found) == ["d", "a"]
    assert [found[i].judged for i in "da"] == [False, True]
    assert found["a"].right < 0.1 < 0.8 < found["d"].right
    assert found["a"].error > 0
    assert "did not judge" in found["d"].in_words()
    assert "did not judge" not in found["a"].in_words()


def test_made_where_it_is_worth_it_and_the_classifier_elsewhere():
    leaks = report(
        leak("b", decision="transfer", labels="2 0"), leak("c", decision="abstain"),
        leak("d", decision="transfer"),
    )  # fmt: skip
    overrides = Overrides(
        by_id={"b": override(made=True), "d": override(made=False, gain=-0.02)}, shares=SHARES
    )
    predicted = np.tile(np.array([0, 1, 0], np.uint8), (4, 1))
    made = merge(["c", "a", "b", "d"], predicted, leaks, overrides)
    assert made.predicted["Id"].tolist() == ["c", "a", "b", "d"]
    assert made.predicted["Predicted"].tolist() == ["1", "1", "2 0", "1"]
    origins = made.origins.set_index("Id")
    assert origins["origin"].to_dict() == {
        "c": "classifier", "a": "classifier", "b": "same_image", "d": "classifier"
    }  # fmt: skip
    assert origins["final_decision"].to_dict() == {
        "c": "abstain", "a": "", "b": "transfer", "d": "abstain"
    }  # fmt: skip
    assert origins["expected_gain"].dropna().to_dict() == {"b": 0.01, "d": -0.02}
    assert "not made" in origins.at["d", "reason"]
    assert origins.at["c", "match_id"] == "m"  # an abstention still says what it saw
    assert (origins["reason"] != "").all()


TESTS = ("t0", "t1", "t2")
CLAIMS = (
    leak("t0", decision="transfer", labels="0"),
    leak("t1", decision="abstain", labels="1 2"),
)


def submitted(folder: Path, claims: tuple[dict, ...], groups: dict[str, str]) -> dict[str, str]:
    """Return the text of both submissions, made of these claims and groups of equal images."""
    data = write_tiny_atlas(folder / "data", train={"m": "0", "n": "1", "o": "2"}, test=TESTS)
    save_table(folder / "leaks" / "leaks.csv", report(*claims).table)
    table = pd.DataFrame({"Id": list(groups), "Group": list(groups.values())})
    save_table(folder / "leaks" / "groups.csv", table)
    rows = np.array([[0.1, 0.9, 0.2], [0.8, 0.1, 0.2], [0.1, 0.2, 0.7]], np.float32)
    for name, ids in (("test", TESTS), ("validation", ("m", "n", "o"))):
        saved = ProbabilitySet(ids=ids, probabilities_NC=rows, provenance={})
        save_probabilities(folder / "classifier" / f"{name}_probabilities.h5", saved)
    thresholds = Thresholds(per_class=(0.5,) * 3, overall=0.5, without_positives=())
    save_thresholds(folder / "classifier", thresholds, ("zero", "one", "two"))
    made = make_submission(data, folder / "leaks", folder / "classifier", folder / "made").folder
    names = ("submission.csv", "submission_without_transfer.csv")
    return {name: (made / name).read_text() for name in names}


def test_the_page_shows_what_was_submitted_and_said(tmp_path):
    claims = [claim("t0", match_id="m"), claim("t1", match_id="o")]
    (tmp_path / "leaks").mkdir()
    saved(tmp_path / "leaks" / "report.html", claims)
    said = Verdict(
        query_id="t0", match_id="m", query_key="key of t0", match_key="key of mt0", verdict="same"
    )
    add_verdicts(tmp_path / "verdicts.db", [said])
    submitted(tmp_path, CLAIMS, {})
    page = (tmp_path / "made" / "report.html").read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    copied, other = data["rows"]
    assert (copied["before"], copied["decision"]) == ([1], "transfer")
    assert copied["reason"] != claims[0].reason
    assert [one["verdict"] for one in copied["verdicts"]] == ["same"]
    counts = dict(re.findall(r'data-count="([^"]*)">(\d+)', page))
    assert counts["claims"] == counts["same_image claims"] == "2"
    assert counts["transferred"] == counts["not transferred"] == "1"
    # The leaks have another match of t1 than the page.
    assert (other["before"], other["decision"], other["verdicts"]) == ([0], "abstain", [])


def test_without_transferred_labels_is_the_classifier_alone(tmp_path):
    files = submitted(tmp_path, CLAIMS, {})
    assert files["submission_without_transfer.csv"] == "Id,Predicted\nt0,1\nt1,0\nt2,2\n"
    assert files["submission.csv"] == "Id,Predicted\nt0,0\nt1,0\nt2,2\n"


@pytest.mark.parametrize(
    ("claims", "groups"),
    [
        (CLAIMS[:1], {}),
        ((CLAIMS[0], {**CLAIMS[1], "labels": "0", "match_id": "o", "confidence": 0.1}), {}),
        ((*CLAIMS, leak("t2", decision="abstain", labels="0 1", relation="sibling")), {}),
        (CLAIMS, {"t0": "t0", "t1": "t0", "t2": "t0", "m": "t0"}),
    ],
    ids=["removed", "changed", "added", "test images of one group"],
)
def test_claims_that_abstain_change_no_row(tmp_path, claims, groups):
    before = submitted(tmp_path / "before", CLAIMS, {})
    assert submitted(tmp_path / "after", claims, groups) == before


NAMES = ("zero", "one", "two", "three", "four")
IMAGES = tuple(f"m{n:02}" for n in range(100))
ASKED = ("copy of m00", "copy of m01", "copy of m02")


def shown(image_id: str) -> int:
    """Return the label that an image shows; that of the first three is wrong in train.csv."""
    return int(image_id[-2:]) % len(NAMES)


def given(image_id: str) -> int:
    return (shown(image_id) + 1) % len(NAMES) if image_id in IMAGES[:3] else shown(image_id)


def sees(labels: list[int], rng: np.random.Generator) -> np.ndarray:
    rows = rng.uniform(0.02, 0.1, (len(labels), len(NAMES)))
    rows[np.arange(len(labels)), labels] = rng.uniform(0.8, 0.98, len(labels))
    return rows.astype(np.float32)


def two_folds(folder: Path) -> Path:
    """Folds that hold out the even and the odd images; each memorised the labels of the others."""
    rng, tests, held_out = np.random.default_rng(0), [], []
    for name, ids in (("fold1", IMAGES[0::2]), ("fold2", IMAGES[1::2])):
        sources = {i: i.removeprefix("copy of ") for i in ASKED}
        said = [shown(m) if m in ids else given(m) for m in sources.values()]
        tests.append(ProbabilitySet(ids=ASKED, probabilities_NC=sees(said, rng), provenance={}))
        rows = sees([shown(i) for i in ids], rng)
        held_out.append(ProbabilitySet(ids=ids, probabilities_NC=rows, provenance={}))
        write_predictions(folder / name, tests[-1], held_out[-1], "validation_probabilities.h5")
        write_json(folder / name / "classifier.json", {})
        write_json(folder / name / "hold_out.json", {"validation_ids": ids})
    mean = np.mean([one.probabilities_NC for one in tests], axis=0)
    joined = ProbabilitySet(
        ids=tuple(i for one in held_out for i in one.ids),
        probabilities_NC=np.concatenate([one.probabilities_NC for one in held_out]),
        provenance={},
    )
    test = replace(tests[0], probabilities_NC=mean)
    write_predictions(folder, test, joined, "out_of_fold_probabilities.h5")
    return folder


def write_predictions(
    folder: Path, test: ProbabilitySet, held_out: ProbabilitySet, name: str
) -> None:
    save_probabilities(folder / "test_probabilities.h5", test)
    save_probabilities(folder / name, held_out)
    per_class = (0.5,) * len(NAMES)
    save_thresholds(
        folder, Thresholds(per_class=per_class, overall=0.5, without_positives=()), NAMES
    )


def memorised_run(folder: Path, groups: str = "") -> tuple[Path, Path, Path]:
    """Return an atlas whose first three labels are wrong, claims of their copies, and folds."""
    labels = {i: str(given(i)) for i in IMAGES}
    data = write_tiny_atlas(folder / "data", train=labels, test=ASKED, labels=NAMES)
    if groups:
        (data / "groups.csv").write_text(groups)
    claims = [
        {**leak(i, decision="transfer", labels=labels[source]), "match_id": source}
        for i, source in zip(ASKED, IMAGES, strict=False)
    ]
    save_table(folder / "leaks" / "leaks.csv", report(*claims).table)
    return data, folder / "leaks", two_folds(folder / "folds")


def test_wrong_labels_that_most_folds_memorised_are_not_transferred(tmp_path):
    """Only the fold that held the match out says what the image shows."""
    data, leaks, folds = memorised_run(tmp_path)
    made = make_submission(data, leaks, folds, tmp_path / "made")
    assert all(override.judged for override in made.overrides.by_id.values())
    assert max(override.right for override in made.overrides.by_id.values()) < 0.2
    assert json.loads((made.folder / "summary.json").read_text())["matched_labels"]["judged"] == 3


def test_a_single_classifier_judges_only_labels_of_images_that_it_held_out(tmp_path):
    data, leaks, folds = memorised_run(tmp_path)
    made = make_submission(data, leaks, folds / "fold1", tmp_path / "made")
    judged = {i: override.judged for i, override in made.overrides.by_id.items()}
    assert judged == {"copy of m00": True, "copy of m01": False, "copy of m02": True}
    reasons = made.submission.origins.set_index("Id")["reason"]
    assert reasons.str.contains("did not judge these labels").to_dict() == {
        i: not is_judged for i, is_judged in judged.items()
    }


def test_who_trained_on_an_image_of_the_group_does_not_judge(tmp_path):
    """The group of m00 was made after the folds, and one of them holds each of its images out."""
    data, leaks, folds = memorised_run(tmp_path, groups="Id,Group\nm00,g\nm05,g\n")
    made = make_submission(data, leaks, folds, tmp_path / "made")
    judged = {i: override.judged for i, override in made.overrides.by_id.items()}
    assert judged == {"copy of m00": False, "copy of m01": True, "copy of m02": True}


def test_an_ensemble_asks_the_folds_of_its_members(tmp_path):
    data, leaks, folds = memorised_run(tmp_path)
    settings = DecisionSettings(folds=3, resamples=5)
    ensemble(data, [folds], tmp_path / "ensemble", settings)
    made = make_submission(data, leaks, tmp_path / "ensemble", tmp_path / "made")
    assert max(override.right for override in made.overrides.by_id.values()) < 0.2
    # A run that was moved still knows its members; without them nothing is judged.
    (tmp_path / "elsewhere").mkdir()
    for name in ("folds", "ensemble"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    moved = tmp_path / "elsewhere" / "ensemble"
    assert make_submission(data, leaks, moved, tmp_path / "again").overrides == made.overrides
    shutil.rmtree(tmp_path / "elsewhere" / "folds")
    alone = make_submission(data, leaks, moved, tmp_path / "alone").overrides
    assert not any(override.judged for override in alone.by_id.values())
