import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from atlas.cli.evaluate import evaluate as command
from atlas.core.errors import UserError
from atlas.workflows.evaluate.embedder import Evaluation, evaluate
from atlas.workflows.evaluate.pictures import worst_confusions
from retrieval.class_vectors import ClassVectors
from retrieval.embedder_folder import HeldOut
from retrieval.evaluation.ranking import rank_queries
from tests.atlas.workflows.evaluate.evaluated import (
    FIELDS,
    IDENTITIES,
    TRAINED,
    save_random_classifier,
    save_random_embedder,
    write_evaluated_atlas,
)
from tests.retrieval.evaluation.reference import GivenSimilarities

UNSEEN = IDENTITIES - TRAINED
TABLES = {"evaluation.json", "per_class.csv", "cmc.csv", "verification.csv"}
PICTURES = {"similarities.png", "confusions.png", "map.png"}


def figures(out: Path) -> dict:
    return json.loads((out / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Evaluation]:
    """The data, and a run with an embedder and its evaluation."""
    folder = tmp_path_factory.mktemp("evaluated")
    data = write_evaluated_atlas(folder / "data")
    save_random_embedder(folder / "run" / "embedder")
    embedder = str(folder / "run" / "embedder")
    return data, folder / "run", evaluate(data, embedder, folder / "run" / "evaluation")


def test_what_is_plain_to_see_is_found_by_every_protocol(run) -> None:
    protocols = figures(run[1] / "evaluation")["protocols"]
    queries = {
        "closed": TRAINED, "open": UNSEEN * FIELDS, "open_set": UNSEEN // 2,
        "test": IDENTITIES + 3, "same_image": 2, "sibling": IDENTITIES,
    }  # fmt: skip
    assert {name: one["queries"] for name, one in protocols.items()} == queries
    for name, count in queries.items():
        if name != "test":
            found = protocols[name]["recall_at"]["1"]
            assert (found["count"], found["of"]) == (count, count)
            assert found["low"] < found["share"] == found["high"] == 1.0
    assert protocols["closed"]["references"] == TRAINED * (FIELDS - 1)
    assert protocols["open"]["map_at_r"] == 1.0
    # Nothing but the very field counts for a copy, and non-matches count on neither side.
    assert protocols["same_image"]["r_precision"] == 1.0
    assert protocols["same_image"]["queries_without_a_relevant_reference"] == IDENTITIES + 1


def test_test_images_are_measured_by_relation_too(run) -> None:
    test = figures(run[1] / "evaluation")["protocols"]["test"]
    counts = {name: one["queries"] for name, one in test["by_relation"].items()}
    assert counts == {"sibling": IDENTITIES, "novel": 1, "same_image": 2}
    assert test["by_relation"]["sibling"]["recall_at"]["1"]["share"] == 1.0


def test_verification_is_of_pairs_of_queries_or_says_why_not(run) -> None:
    protocols = figures(run[1] / "evaluation")["protocols"]
    opened = protocols["open"]["verification"]
    assert opened["same_pairs"] == UNSEEN * FIELDS * (FIELDS - 1) // 2
    assert opened["accuracy_mean"] > 0.9
    assert opened["true_accept_rate_at"]["0.001"] == {
        "note": "fewer than 10000 pairs of different classes"
    }
    # One held-out field of each identity makes no pair of the same class.
    assert "fewer than 10 pairs" in protocols["closed"]["verification"]["note"]
    assert "fewer than 100 impostors" in protocols["open_set"]["identification"]["note"]


def test_the_tables_say_what_the_figures_say(run) -> None:
    out = run[1] / "evaluation"
    protocols = figures(out)["protocols"]
    cmc = pd.read_csv(out / "cmc.csv").set_index(["protocol", "rank"])
    assert cmc.groupby(level=0).size().to_dict() == dict.fromkeys(protocols, 50)
    for name, one in protocols.items():
        for k, share in one["recall_at"].items():
            assert cmc.loc[(name, int(k)), "count"] == share["count"]
    assert cmc.groupby(level=0)["share"].is_monotonic_increasing.all()
    classes = pd.read_csv(out / "per_class.csv", dtype={"class": str})
    counted = classes.groupby("protocol")["queries"].sum().to_dict()
    assert counted == {name: one["queries"] for name, one in protocols.items()}
    assert set(classes[classes["protocol"] == "test"]["class"]) == {"0", "1"}
    assert set(classes[classes["protocol"] == "closed"]["class"]) == {
        f"identity{a}" for a in range(TRAINED)
    }
    curve = pd.read_csv(out / "verification.csv")
    assert curve.groupby("protocol")["false_accept_rate"].max().eq(1).all()


def test_pictures_are_drawn_and_equal_work_gives_equal_bytes(run) -> None:
    data, folder, _ = run
    evaluate(data, str(folder / "embedder"), folder / "once_more")
    out = folder / "evaluation"
    names = {path.name for path in out.iterdir()}
    assert TABLES <= names <= TABLES | PICTURES | {"contents.json"}
    assert {"similarities.png", "map.png"} <= names
    for name in names:
        assert (out / name).read_bytes() == (folder / "once_more" / name).read_bytes(), name
    assert cv2.imread(str(out / "map.png")).std() > 20


def test_without_a_truth_table_the_labelled_images_are_measured_alone(tmp_path: Path) -> None:
    data = write_evaluated_atlas(tmp_path / "data")
    (data / "truth.csv").unlink()
    embedder = save_random_embedder(tmp_path / "embedder")
    measured = evaluate(data, str(embedder), tmp_path / "out", classes="label-set")
    assert [one.protocol.name for one in measured.measurements] == ["closed", "open", "open_set"]
    assert measured.measurements[0].protocol.class_is == "label set"
    assert figures(tmp_path / "out")["classes"] == "label-set"


def test_only_held_out_images_of_trained_classes_are_compared_with_class_vectors(
    run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors_CD = np.random.default_rng(0).normal(size=(TRAINED, 16)).astype(np.float32)
    named = ClassVectors(names=tuple(f"identity{a}" for a in range(TRAINED)), vectors_CD=vectors_CD)
    embedder = save_random_embedder(tmp_path / "embedder", class_vectors=named)
    command(run[0], str(embedder), tmp_path / "by_identity")
    protocols = figures(tmp_path / "by_identity")["protocols"]
    share = protocols["closed"]["top1_by_class_vectors"]
    assert share["of"] == TRAINED
    assert f"closed: top-1 by class vectors {share['share']:.3f} (" in capsys.readouterr().out
    assert [name for name, one in protocols.items() if "top1_by_class_vectors" in one] == ["closed"]
    evaluate(run[0], str(embedder), tmp_path / "by_labels", classes="label-set")
    closed = figures(tmp_path / "by_labels")["protocols"]["closed"]
    assert "top1_by_class_vectors" not in closed


def test_a_classifier_borrows_held_out_fields_and_it_is_said(run) -> None:
    data, folder, _ = run
    classifier = save_random_classifier(folder / "classifier")
    alone = evaluate(data, str(classifier), folder / "of_classifier")
    names = [one.protocol.name for one in alone.measurements]
    assert names == ["test", "same_image", "sibling"]
    found = evaluate(data, str(classifier), folder / "borrowed", held_out=folder / "embedder")
    assert [one.protocol.name for one in found.measurements][:3] == ["closed", "open", "open_set"]
    assert found.notes[1] == "the evaluated network may have been trained on them"
    assert figures(folder / "borrowed")["dimension"] == 16


def test_an_embedder_with_lists_of_its_own_borrows_no_others(run, tmp_path: Path) -> None:
    data, folder, _ = run
    other = save_random_embedder(tmp_path / "other", HeldOut(held_out_ids=("field0_3",)))
    with pytest.raises(UserError, match="omit --held-out"):
        evaluate(data, str(folder / "embedder"), tmp_path / "out", held_out=other)


def test_nothing_to_measure_by_is_reported_with_the_next_step(tmp_path: Path) -> None:
    data = write_evaluated_atlas(tmp_path / "data")
    (data / "truth.csv").unlink()
    embedder = save_random_embedder(tmp_path / "embedder", HeldOut())
    with pytest.raises(UserError, match=r"no truth.csv; give --held-out"):
        evaluate(data, str(embedder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_replaced(run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="was not written by evaluate"):
        evaluate(run[0], str(run[1] / "embedder"), tmp_path)


def test_confusions_are_reported_once_the_most_alike_first() -> None:
    # a and b are nearest to one another, c is nearest to a; all are of other classes. d is right.
    similarity = np.array(
        [[0, 0.9, 0.2, 0, 0], [0.9, 0, 0.1, 0, 0], [0.5, 0.3, 0, 0, 0], [0, 0, 0, 0, 0.99]],
        np.float32,
    )
    classes = {"a": 1, "b": 2, "c": 3, "d": 4, "A": 4}
    ids = ["a", "b", "c", "d"]
    classes |= {"x": 1, "y": 2, "z": 3}
    with_mates = np.concatenate([similarity, np.full((4, 3), -0.5, np.float32)], axis=1)
    scores = rank_queries(GivenSimilarities(ids, [*ids, "A", "x", "y", "z"], with_mates), classes)
    reported = [
        (query, nearest, round(alike, 3)) for query, nearest, alike in worst_confusions(scores)
    ]
    assert reported == [("a", "b", 0.9), ("c", "a", 0.5)]
