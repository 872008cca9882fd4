"""Every stage's part in a row, from a run made by hand; stages that are missing; the page."""

import html
import re
import shutil
from pathlib import Path

import pytest

from atlas.core.errors import UserError, command_line
from atlas.report.explanation_page import Explanation
from atlas.workflows.explain.explanation import explain, explanation_of
from atlas.workflows.explain.run_so_far import read_run
from tests.atlas.workflows.explain.explained import REASON, write_run


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Path]:
    return write_run(tmp_path)


def of(name: str, run: tuple[Path, Path]) -> Explanation:
    return explanation_of(name, read_run(*run))


def text_of(path: Path) -> str:
    body = path.read_text().split("</style>")[1]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_neighbours_claims_first_with_what_votes(run: tuple[Path, Path]) -> None:
    near = of("t0", run).neighbours
    assert [(n.id, n.relation, n.votes) for n in near] == [
        ("a", "same_image", True), ("c", "same_image", True), ("b", "", False)
    ]  # fmt: skip
    assert [n.registration_score for n in near] == [99.0, 97.0, 0.2]
    assert (near[0].labels, near[0].identity) == ((0,), "antibody 1")
    assert near[2].labels == (1, 2)


def test_the_claim_its_votes_and_its_pictures(run: tuple[Path, Path]) -> None:
    claim = of("t0", run).claim
    assert claim is not None
    assert (claim.match_id, claim.decision, claim.reason) == ("a", "transfer", REASON)
    assert [(v.labels, v.matches) for v in claim.votes] == [((0,), 1), ((2,), 1)]
    assert [v.share for v in claim.votes] == pytest.approx([0.6, 0.4])
    assert [p.said for p in claim.pair] == [
        "this image", "registered to the match", "best match a", "difference"
    ]  # fmt: skip
    assert [bool(p.outlines) for p in claim.pair] == [True, False, True, False]
    assert claim.geometry.startswith("Geometry of the query: rotated by 90°. ")
    assert of("t2", run).claim is None


def test_the_classifier_s_labels_and_thresholds(run: tuple[Path, Path]) -> None:
    """The labels of t0 are its own, although t1 is claimed to show the same field."""
    found = of("t0", run).classifier
    assert found is not None
    # (0.1, 0.9, 0.2) against thresholds of 0.3, 0.7 and 0.5.
    assert [(bar.label, bar.given, bar.carried) for bar in found.bars] == [
        (1, True, True), (2, False, False), (0, False, True)
    ]  # fmt: skip
    assert [bar.probability for bar in found.bars] == pytest.approx([0.9, 0.2, 0.1])
    assert not any(bar.only_likeliest for bar in found.bars)
    (given,) = (bar for bar in found.bars if bar.carried and bar.given)
    assert given.threshold == 0.7


def test_a_label_that_is_only_the_most_likely_one_is_marked(run: tuple[Path, Path]) -> None:
    found = of("t2", run).classifier  # (0.1, 0.2, 0.15) reaches no threshold
    assert found is not None
    assert [(bar.label, bar.only_likeliest) for bar in found.bars if bar.given] == [(1, True)]


def test_the_decision(run: tuple[Path, Path]) -> None:
    decision = of("t0", run).decision
    assert decision is not None
    assert (decision.final, decision.without, decision.gain) == ((0,), (1,), 0.0123)
    other = of("t2", run).decision
    assert other is not None
    assert (other.origin, other.gain) == ("classifier", None)


def test_the_page_shows_everything_and_is_the_same_again(run: tuple[Path, Path]) -> None:
    (path,) = explain(["t0"], *run, None)
    assert path == run[1] / "explanations" / "t0.html"
    text = text_of(path)
    for said in (
        "The labels were transferred from a. This image is claimed to be a copy of it.", REASON,
        "+1.2e-02", "0 zero 1 60% 2 <two> 1 40%", "The most likely label is always given.",
        "precision of 0.99 is not guaranteed",
    ):  # fmt: skip
        assert said in text
    assert "Not made yet" not in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", path.read_text())
    first = path.read_bytes()
    explain(["t0"], *run, None)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("stage", "command"),
    [
        ("submission", "make_submission"),
        ("leaks", "find_leaks"),
        ("classifier", "train_classifier"),
    ],
)
def test_a_missing_stage_is_named_with_its_command(
    run: tuple[Path, Path], stage: str, command: str
) -> None:
    shutil.rmtree(run[1] / stage)
    (path,) = explain(["t0"], *run, None)
    said = re.findall(r"Not made yet: .*? (atlas [\w-]+)", text_of(path))
    # Without leaks the neighbours would come from the index, which is not there either.
    wanted = [command, *(["build_index"] if stage == "leaks" else [])]
    assert said == [command_line(name) for name in wanted]


def test_truth_is_shown_where_it_is_known(run: tuple[Path, Path]) -> None:
    (run[0] / "truth.csv").write_text("Id,relation,source,edit,Target\nt0,same_image,c,d4,0 2\n")
    paths = explain(["t0", "t2"], *run, run[1] / "pages")
    assert [path.name for path in paths] == ["t0.html", "t2.html"]
    assert "same_image c Missing labels: 2 <two>." in text_of(paths[0])
    assert "True labels" not in text_of(paths[1])


def test_another_classifier_than_the_submission_s_is_reported(run: tuple[Path, Path]) -> None:
    (run[1] / "submission" / "summary.json").write_text('{"classifier": {"of": "another"}}')
    assert "made from another classifier" in of("t0", run).notes[0]


@pytest.mark.parametrize(
    ("ids", "out", "said"),
    [
        (["t"], None, "has no test image t; did you mean t"),
        (["nothing like it"], None, "see sample_submission.csv"),
        (["a"], None, "a is a labelled image"),
        (["t0", "t1"], "page.html", "give a folder for 2 images"),
        ([], None, "nothing to explain"),
    ],
)
def test_what_cannot_be_explained(
    run: tuple[Path, Path], ids: list[str], out: str | None, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        explain(ids, *run, Path(out) if out else None)
