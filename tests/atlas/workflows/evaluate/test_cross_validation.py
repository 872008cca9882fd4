"""Cross-validation on small atlases: by hand, by planted truth, and stopped on the way."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import UserError
from atlas.core.sealed_json import read_sealed_json, write_sealed_json
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.manifest import read_manifest
from atlas.dataset.splits.folds import Fold
from atlas.training.weights import weights_hash
from atlas.workflows.evaluate.cross_validation import (
    METRICS,
    classes_to_find,
    cross_validate,
    figures_of,
    fold_atlas,
    frozen_features,
    summary_of,
    train_on,
)
from atlas.workflows.settings import FoldSettings
from retrieval.embedding import embed_store
from retrieval.frozen import frozen_embedder
from retrieval.postprocessing.whitening import whiten, whitening_of
from tests.atlas.workflows.classify.made_folds import blacken, settings, write_textures

WriteAtlas = Callable[..., Path]
TWO_BLOCKS = FoldSettings(folds=2, gap=1)


def on_the_circle(degrees: dict[str, float]) -> EmbeddingSet:
    angles = np.radians(list(degrees.values()))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return EmbeddingSet(ids=tuple(degrees), vectors_ND=vectors, provenance={})


def test_figures_by_hand() -> None:
    """Test images p (class a) and q (class b); a stands at 0 and 40 degrees, b at 30 and 90."""
    embeddings = on_the_circle({"a1": 0, "a2": 40, "b1": 30, "b2": 90, "p": 5, "q": 80})
    fold = Fold(name="fold1", training_ids=("a1", "a2", "b1", "b2"), test_ids=("p", "q"))
    class_of = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "p": "a", "q": "b"}
    figures = figures_of(embeddings, fold, class_of)
    # p sees a1 b1 a2 b2, q sees b2 a2 b1 a1: the first is right, the second is not, for both.
    assert figures == {
        "top1": 1.0, "r_precision": 0.5, "map_at_r": 0.5, "verification_accuracy": None,
    }  # fmt: skip


def test_verification_is_of_test_images_alone() -> None:
    """Training images lie as if classes were exchanged, which only the ranking may see."""
    test = {f"{c}{n}": 90.0 * at + n for at, c in enumerate("abcd") for n in range(6)}
    training = {f"{c}-{n}": 90.0 * at + n for at, c in enumerate("badc") for n in range(6)}
    fold = Fold(name="fold1", training_ids=tuple(training), test_ids=tuple(test))
    figures = figures_of(on_the_circle(test | training), fold, {i: i[0] for i in test | training})
    assert figures["verification_accuracy"] == 1.0
    assert figures["top1"] == 0.0


def test_summary_by_hand() -> None:
    rows = {"fold": ["fold1", "fold2"], "training_images": [3, 3], "test_images": [1, 1]}
    rows |= {f"{e}_{m}": [0.4, 0.6] for e in ("trained", "frozen") for m in METRICS}
    rows["frozen_verification_accuracy"] = [None, None]
    summary = summary_of(pd.DataFrame(rows))
    assert summary["trained"]["top1"] == pytest.approx({"mean": 0.5, "std": 0.02**0.5})
    assert summary["frozen"]["verification_accuracy"] == {"mean": None, "std": None}


def test_what_counts_as_found(write_atlas: WriteAtlas) -> None:
    data = write_atlas(
        train={"a": "1 2", "b": "2 1", "c": "0", "d": "1"},
        identities={"a": "x", "c": "x", "d": "y"},
        size=(32, 32),
    )
    by_identity = replace(settings(), classes="auto")
    manifest = read_manifest(data)
    assert classes_to_find(manifest, settings()) == {"a": "1 2", "b": "1 2"}
    assert classes_to_find(manifest, by_identity) == {"a": "x", "c": "x"}


def test_what_belongs_together_is_not_parted_and_identities_are(
    write_atlas: WriteAtlas, tmp_path: Path
) -> None:
    ids = [f"{n:02d}" for n in range(24)]
    data = write_atlas(
        train={i: str(int(i) % 2) for i in ids},
        identities={i: f"antibody{int(i) % 6}" for i in ids},
        size=(32, 32),
    )
    (data / "groups.csv").write_text("Id,Group\n00,copies\n06,copies\n")
    how = FoldSettings(by="random", folds=2)

    def sides(classes: str) -> list[tuple[set[str], set[str]]]:
        chosen = replace(settings(), classes=classes)
        atlas, _ = fold_atlas(data, tmp_path / "run", chosen, how)
        return [(set(f.training_ids), set(f.test_ids)) for f in atlas.folds]

    for training, test in sides("label-set"):
        assert {int(i) % 6 for i in training}.isdisjoint(int(i) % 6 for i in test)
    for training, test in sides("identity"):
        assert {int(i) % 6 for i in training} == {int(i) % 6 for i in test} == set(range(6))
        assert {"00", "06"} <= training or {"00", "06"} <= test


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    data = write_textures(tmp_path / "data")
    with pytest.raises(UserError, match="--gap applies to blocks only"):
        fold_atlas(data, tmp_path / "run", settings(), FoldSettings(by="random", gap=20))
    with pytest.raises(UserError, match=r"class 0 of 10 images.*has none to train on"):
        fold_atlas(data, tmp_path / "run", settings(), FoldSettings(folds=2))
    with pytest.raises(UserError, match="image size 4 px"):
        fold_atlas(data, tmp_path / "run", replace(settings(), image_size_px=4), TWO_BLOCKS)


def test_test_images_teach_nothing(tmp_path: Path) -> None:
    """Other pixels of the tested ones leave the weights as they are, bit for bit."""
    hashes = set()
    for name in ("as they are", "blackened"):
        data = write_textures(tmp_path / name / "data")
        atlas, chosen = fold_atlas(data, tmp_path / name / "run", settings(), TWO_BLOCKS)
        if name == "blackened":
            before = atlas.store.content_hash
            blacken(data, atlas.folds[0].test_ids)
            atlas, chosen = fold_atlas(data, tmp_path / name / "run", settings(), TWO_BLOCKS)
            assert atlas.store.content_hash != before
        folder = tmp_path / name / "run" / "fold1"
        embedder = train_on(atlas, atlas.folds[0], chosen, folder)
        hashes.add(weights_hash(embedder.network))
    assert len(hashes) == 1


@pytest.mark.slow
def test_every_fold_is_trained_and_measured_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    data, out = write_textures(tmp_path / "data"), tmp_path / "runs" / "cv"
    table = cross_validate(data, out, settings(), TWO_BLOCKS)
    assert table["fold"].tolist() == ["fold1", "fold2"]
    assert table["training_images"].tolist() == [8, 8]
    assert table["test_images"].tolist() == [10, 10]
    assert (
        table["frozen_top1"] == 1.0
    ).all()  # stripes of two widths are distinguished by any backbone
    summary = json.loads((out / "summary.json").read_text())
    assert summary["frozen"]["top1"] == {"mean": 1.0, "std": 0.0}

    # Stopped after the second training: its figures are made again, the first fold's are read.
    texts = {name: (out / name).read_bytes() for name in ("folds.csv", "fold2/figures.json")}
    for name in texts:
        (out / name).unlink()
    again = cross_validate(data, out, settings(), TWO_BLOCKS)
    pd.testing.assert_frame_equal(again, table)
    assert all((out / name).read_bytes() == text for name, text in texts.items())
    marked = read_sealed_json(out / "fold1" / "figures.json")
    marked["trained"]["top1"] = 0.125
    write_sealed_json(out / "fold1" / "figures.json", marked)
    read = cross_validate(data, out, settings(), TWO_BLOCKS)
    assert read["trained_top1"].tolist() == [0.125, table["trained_top1"][1]]

    with pytest.raises(UserError, match=r"embedder\.training.epochs was 1, is 2"):
        cross_validate(data, out, settings(epochs=2), TWO_BLOCKS)
    with pytest.raises(UserError, match="folds was 2, is 3"):
        cross_validate(data, out, settings(), replace(TWO_BLOCKS, folds=3))


def test_the_frozen_embedder_of_a_fold_is_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features whitened afterwards are those of an embedder made from the training images."""
    monkeypatch.setattr(
        "retrieval.postprocessing.whitening.FEWEST_DIMENSIONS", 2
    )  # else 64 images are needed
    atlas, _ = fold_atlas(
        write_textures(tmp_path / "data"), tmp_path / "run", settings(), TWO_BLOCKS
    )
    ids = atlas.ids[::2]
    atlas = replace(atlas, class_of={i: atlas.class_of[i] for i in ids})
    fold = Fold(name="fold1", training_ids=ids[:8], test_ids=ids[8:])
    raw = frozen_features(atlas, tmp_path / "features")
    fitted = whitening_of(raw.aligned_to(fold.training_ids).vectors_ND)
    usual = frozen_embedder(atlas.store, fold.training_ids)
    assert usual.settings.dimension == 8 // 4
    np.testing.assert_allclose(
        whiten(fitted, raw).aligned_to(fold.test_ids).vectors_ND,
        embed_store(usual, atlas.store, fold.test_ids, folder=None).vectors_ND,
        atol=1e-4,
    )
