import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import UserError
from atlas.dataset.artifacts import EmbeddingSet
from atlas.workflows.embed.embedder import train_embedder
from atlas.workflows.evaluate.ablation import (
    Background,
    ablate_retrieval,
    ablation_table,
    winners,
)
from retrieval.evaluation.protocols import Protocol
from retrieval.evaluation.ranking import rank_queries, summarise
from retrieval.postprocessing.reranking import reranked_similarities
from retrieval.postprocessing.whitening import whiten, whitening_of
from tests.conftest import write_tiny_atlas
from tests.retrieval.made import settings

FILES = {"ablation.csv", "ablation.png", "ablation.json"}
CLASSES, EACH = 40, 5


def planted(seed: int) -> EmbeddingSet:
    """Classes lie apart in 16 of 32 directions; within each, the other 16 vary four times more."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(CLASSES, 1, 32)) * (np.arange(32) < 16)
    noise = rng.normal(size=(CLASSES, EACH, 32)) * np.where(np.arange(32) < 16, 0.5, 2)
    vectors = (places + noise).reshape(-1, 32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = tuple(f"c{c}_{n}" for c in range(CLASSES) for n in range(EACH))
    return EmbeddingSet(ids=ids, vectors_ND=vectors.astype(np.float32), provenance={})


IDS = planted(0).ids
CLASS_OF = {image_id: image_id.split("_")[0] for image_id in IDS}
QUERIES = tuple(i for i in IDS if i.endswith("_0"))
TRAINED = tuple(i for i in IDS if not i.endswith("_0"))
BACKGROUND = Background(ids=TRAINED, classes=CLASS_OF)
CLOSED = Protocol(
    name="closed", class_is="identity", query_ids=QUERIES, reference_ids=TRAINED, classes=CLASS_OF
)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return ablation_table([CLOSED], {1: planted(0), 8: planted(1)}, BACKGROUND)


def test_every_combination_stands_once_after_nothing(table: pd.DataFrame) -> None:
    assert len(table) == 18
    assert table["combination"].is_unique
    assert table["combination"].iloc[0] == "nothing"
    first = table.iloc[0]
    assert [first[f"{name}_gain"] for name in ("top1", "r_precision", "map_at_r")] == [0, 0, 0]
    assert "8 views + class whitening + re-ranking" in set(table["combination"])


def test_with_vectors_of_eight_views_alone_these_are_what_gains_are_over() -> None:
    table = ablation_table([CLOSED], {8: planted(1)}, BACKGROUND)
    assert len(table) == 9
    assert table["combination"].iloc[0] == "8 views"
    assert table["map_at_r_gain"].iloc[0] == 0


def test_a_row_is_what_its_parts_give_by_hand(table: pd.DataFrame) -> None:
    vectors = planted(1)
    white = whiten(whitening_of(vectors.aligned_to(TRAINED).vectors_ND), vectors)
    similarities = reranked_similarities(white.aligned_to(QUERIES), white.aligned_to(TRAINED))
    by_hand = summarise(rank_queries(similarities, CLASS_OF))
    row = table.set_index("combination").loc["8 views + PCA whitening + re-ranking"]
    assert row["queries"] == by_hand.queries == CLASSES
    assert row["map_at_r"] == pytest.approx(by_hand.map_at_r)
    assert row["r_precision"] == pytest.approx(by_hand.r_precision)
    assert row["top1"] == pytest.approx(by_hand.hits_at[1] / CLASSES)


def test_gains_and_their_errors_are_those_of_pairs(table: pd.DataFrame) -> None:
    rows = table.set_index("combination")
    nothing, whitened = rows.loc["nothing"], rows.loc["class whitening"]
    gain = whitened["top1"] - nothing["top1"]
    assert whitened["top1_gain"] == pytest.approx(gain)
    # Each query gains 1, 0 or -1: at most all the spread that such values can have.
    assert 0 < whitened["top1_gain_error"] <= (1 / (CLASSES - 1)) ** 0.5
    assert whitened["map_at_r_gain"] > 2 * whitened["map_at_r_gain_error"]  # as was planted


def test_what_is_learned_knows_no_query() -> None:
    """Another vector for one query leaves the others' scores, but where re-ranking sees it."""
    vectors = planted(0)
    changed = vectors.vectors_ND.copy()
    changed[IDS.index(QUERIES[0])] = np.eye(32, dtype=np.float32)[20]
    others = replace(CLOSED, query_ids=QUERIES[1:])
    tables = [
        ablation_table(
            [CLOSED, replace(others, name="others")], {1: replace(vectors, vectors_ND=rows)},
            BACKGROUND,
        )
        for rows in (vectors.vectors_ND, changed)
    ]  # fmt: skip
    before, after = (one[one["protocol"] == "others"].reset_index(drop=True) for one in tables)
    pd.testing.assert_frame_equal(before, after)
    whole = [one[one["protocol"] == "closed"].reset_index(drop=True) for one in tables]
    assert not whole[0].equals(whole[1])


def test_protocols_without_a_right_answer_have_no_rows(table: pd.DataFrame) -> None:
    non_matches = replace(CLOSED, name="non_matches", classes={})
    vectors = {1: planted(0), 8: planted(1)}
    made = ablation_table([non_matches, CLOSED], vectors, BACKGROUND)
    pd.testing.assert_frame_equal(made, table)
    with pytest.raises(UserError, match="no query has a reference of its class"):
        ablation_table([non_matches], vectors, BACKGROUND)


def test_the_winner_of_each_protocol_has_the_highest_score(table: pd.DataFrame) -> None:
    best = table.sort_values("map_at_r", kind="stable").iloc[-1]
    assert winners(table)["combination"].tolist() == [best["combination"]]
    assert winners(table.assign(map_at_r=0.5))["combination"].tolist() == ["nothing"]


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas with a truth, and an embedder trained for a moment."""
    folder = tmp_path_factory.mktemp("ablation")
    ids = {f"f{a}_{n}": f"antibody{a}" for a in range(8) for n in range(4)}
    data = write_tiny_atlas(
        folder / "data", train=dict.fromkeys(ids, "0"), identities=ids, test=("t0", "t1", "t2"),
        size=(32, 32),
    )  # fmt: skip
    how = settings(
        image_size_px=32, unseen_identity_share=0.25,
        training=replace(settings().training, epochs=1),
    )  # fmt: skip
    train_embedder(data, folder / "embedder", how)
    return folder


def test_a_trained_embedder_is_measured_on_what_it_held_out(atlas: Path) -> None:
    table = ablate_retrieval(atlas / "data", str(atlas / "embedder"), atlas / "ablation")
    assert list(table.groupby("protocol", sort=False).size().items()) == [
        ("closed", 18), ("open", 18),
    ]  # fmt: skip
    assert {path.name for path in (atlas / "ablation").iterdir()} == FILES | {"contents.json"}
    about = json.loads((atlas / "ablation" / "ablation.json").read_text())
    held_out = json.loads((atlas / "embedder" / "held_out.json").read_text())
    assert about["learned_from_images"] == 32 - sum(len(ids) for ids in held_out.values())
    fingerprints = {views: one["embedder"] for views, one in about["vectors"].items()}
    assert len(set(fingerprints.values())) == 2
    first = {name: (atlas / "ablation" / name).read_bytes() for name in FILES}
    ablate_retrieval(atlas / "data", str(atlas / "embedder"), atlas / "ablation")
    assert first == {name: (atlas / "ablation" / name).read_bytes() for name in FILES}


def test_known_test_images_are_measured_too(atlas: Path) -> None:
    truth = atlas / "data" / "truth.csv"
    truth.write_text("Id,Target\nt0,0\nt1,0\nt2,1\n")
    try:
        table = ablate_retrieval(atlas / "data", str(atlas / "embedder"), atlas / "with_test")
    finally:
        truth.unlink()
    test = table[table["protocol"] == "test"]
    assert len(test) == 18
    assert set(test["queries"]) == {2}  # no labelled image has the labels of t2
    assert set(test["top1"]) == {1.0}


def test_without_anything_held_out_the_error_says_what_to_give(tmp_path: Path) -> None:
    ids = {f"i{n}": str(n % 2) for n in range(6)}  # no identities: each image is its own class
    data = write_tiny_atlas(tmp_path / "data", train=ids, size=(32, 32))
    how = settings(image_size_px=32, training=replace(settings().training, epochs=1))
    train_embedder(data, tmp_path / "embedder", how)
    with pytest.raises(UserError, match="give --held-out"):
        ablate_retrieval(data, str(tmp_path / "embedder"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
