import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.core.errors import MissingStageError, Stage, UserError
from atlas.core.files import content_hash, json_text, write_json
from atlas.core.result_files import read_json
from atlas.core.row_file import DamagedFileError
from atlas.training.loop import read_checkpoint
from atlas.training.weights import weights_hash
from retrieval.classes import training_classes
from retrieval.embedder import load_embedder, save_embedder
from retrieval.embedding import embed_images, embed_store
from retrieval.settings import NAMED_LOSSES, RECIPES, EmbedderSettings, LossSettings
from retrieval.training import train_embedder
from tests.retrieval.made import antibodies, manifest, settings, store

IDENTITIES = antibodies(8, 4)
ONE_EPOCH = replace(settings().training, epochs=1)


def train(tmp_path: Path, name: str = "run", how: EmbedderSettings | None = None, ids=IDENTITIES):
    return train_embedder(
        manifest(ids), store(tmp_path / "store", ids), how or settings(), tmp_path / name
    )


def test_it_learns_to_find_identities(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    how = settings(training=replace(settings().training, epochs=12))
    embedder = train(tmp_path, how=how)
    assert embedder.provenance["validation_top1"] > 3 / 8
    assert caplog.messages[0] == "starting from random weights, seed 0"
    assert "8 classes (identity)" in caplog.messages[1]


def test_a_loaded_embedder_gives_the_same_embeddings(tmp_path: Path) -> None:
    embedder = train(tmp_path)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "settings.json", "metrics.csv", "checkpoints", "logs",
        "weights.safetensors", "embedder.json", "held_out.json",
        "class_vectors.safetensors", "class_names.json", "start.json",
    }  # fmt: skip
    loaded = load_embedder(tmp_path / "run")
    assert loaded.fingerprint == embedder.fingerprint
    assert loaded.settings == embedder.settings
    assert loaded.held_out == embedder.held_out
    assert len(loaded.held_out.held_out_ids) == 8
    images = store(tmp_path / "store", IDENTITIES)
    one, other = (embed_store(e, images, images.ids, folder=None) for e in (embedder, loaded))
    assert np.array_equal(one.vectors_ND, other.vectors_ND)
    assert one.provenance == other.provenance


def test_two_trainings_give_equal_weights(tmp_path: Path) -> None:
    one = train(tmp_path, "one")
    other = train(tmp_path, "other")
    assert weights_hash(one.network) == weights_hash(other.network)
    texts = [(tmp_path / n / "embedder.json").read_bytes() for n in ("one", "other")]
    assert texts[0] == texts[1]


def test_class_vectors_are_trained_and_kept(tmp_path: Path) -> None:
    train(tmp_path)
    stored = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    vectors = stored["state_dict"]["loss.named.W"]
    assert vectors.shape == (16, 8)
    counted = sum(len(group["params"]) for group in stored["optimizer_states"][0]["param_groups"])
    assert len(stored["optimizer_states"][0]["state"]) == counted
    moments = [s["exp_avg"] for s in stored["optimizer_states"][0]["state"].values()]
    assert any(moment.shape == vectors.shape and moment.abs().sum() > 0 for moment in moments)


def test_the_class_vectors_of_the_chosen_epoch_are_kept_with_the_names_of_their_classes(
    tmp_path: Path,
) -> None:
    embedder = train(tmp_path)
    stored = read_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")
    vectors_CD = stored["state_dict"]["loss.named.W"].T.numpy()
    kept = embedder.class_vectors
    assert kept.names == tuple(f"antibody{n}" for n in range(8))
    lengths_C = np.linalg.norm(vectors_CD, axis=1, keepdims=True)
    np.testing.assert_allclose(kept.vectors_CD, vectors_CD / lengths_C, atol=1e-6)
    loaded = load_embedder(tmp_path / "run")
    save_embedder(tmp_path / "copied", loaded)
    for one in (loaded, load_embedder(tmp_path / "copied")):
        assert one.class_vectors.names == kept.names
        assert np.array_equal(one.class_vectors.vectors_CD, kept.vectors_CD)
        assert one.fingerprint == replace(one, class_vectors=None).fingerprint


def test_the_name_of_a_class_vector_is_the_identity_of_the_images_of_its_class() -> None:
    classes = training_classes(manifest(IDENTITIES), settings())
    assert {i: classes.class_names[n] for i, n in classes.class_of.items()} == IDENTITIES


def test_each_subcentre_has_the_name_of_its_class(tmp_path: Path) -> None:
    loss = LossSettings(name="subcenter_arcface", margin_radians=0.5, subcenters=2)
    embedder = train(tmp_path, how=settings(loss=loss, training=ONE_EPOCH))
    names = embedder.class_vectors.names
    assert names[:4] == ("antibody0", "antibody0", "antibody1", "antibody1")
    assert embedder.class_vectors.vectors_CD.shape == (16, 16)


def test_label_sets_name_class_vectors_and_other_classes_keep_none(tmp_path: Path) -> None:
    labels = {image_id: ((2, 0), (1,))[n % 2] for n, image_id in enumerate(IDENTITIES)}
    labelled = manifest(IDENTITIES, labels=labels)
    images = store(tmp_path / "store", IDENTITIES)
    kept = {}
    for classes in ("label-set", "label-similarity", "image"):
        how = settings(classes=classes, training=ONE_EPOCH)
        kept[classes] = train_embedder(labelled, images, how, tmp_path / classes).class_vectors
    assert kept.pop("label-set").names == ("0 2", "1")
    assert set(kept.values()) == {None}
    assert not (tmp_path / "image" / "class_vectors.safetensors").exists()
    triplets = settings(loss=NAMED_LOSSES["triplet"], training=ONE_EPOCH)
    assert train(tmp_path, "triplets", triplets).class_vectors is None


def test_class_vectors_that_do_not_fit_their_names_are_damage(tmp_path: Path) -> None:
    train(tmp_path, how=settings(training=ONE_EPOCH))
    write_json(tmp_path / "run" / "class_names.json", ["antibody0"])
    with pytest.raises(DamagedFileError, match=r"class_vectors.*8 vectors, but .* has 1"):
        load_embedder(tmp_path / "run")
    (tmp_path / "run" / "class_vectors.safetensors").write_bytes(b"broken")
    with pytest.raises(DamagedFileError, match="class_vectors"):
        load_embedder(tmp_path / "run")


def test_without_identities_each_image_is_a_class_and_the_log_says_so(
    tmp_path: Path, caplog
) -> None:
    ids = {f"image{n}": None for n in range(10)}
    caplog.set_level(logging.INFO, logger="retrieval.training")
    embedder = train(tmp_path, ids=ids)
    assert "10 classes (image)" in caplog.text
    about = json.loads((tmp_path / "run" / "embedder.json").read_text())
    assert about["provenance"]["class_is"] == "image"
    assert embedder.held_out.held_out_ids == ()


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(UserError, match=r"loss.margin_radians was 0.5, is 0.3"):
        train(tmp_path, how=settings(loss=LossSettings(margin_radians=0.3)))


def test_a_missing_embedder_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingStageError, match=Stage.EMBEDDER.command):
        load_embedder(tmp_path / "nowhere")


def test_a_damaged_embedder_is_reported(tmp_path: Path) -> None:
    train(tmp_path)
    about = tmp_path / "run" / "embedder.json"
    text = about.read_text()
    about.write_text(text.replace('"trained"', '"frozen"'))
    with pytest.raises(UserError, match="damaged"):
        load_embedder(tmp_path / "run")
    about.write_text(text[:50])
    with pytest.raises(UserError, match="damaged"):
        load_embedder(tmp_path / "run")
    about.write_text(text)
    (tmp_path / "run" / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="not the weights"):
        load_embedder(tmp_path / "run")


def test_an_embedder_of_an_earlier_version_with_fewer_settings_keeps_its_fingerprint(
    tmp_path: Path,
) -> None:
    embedder = train(tmp_path)
    path = tmp_path / "run" / "embedder.json"
    about = read_json(path, stage=Stage.EMBEDDER)
    del about["settings"]["training"]["ema_decay"]
    described = json_text([about["settings"], about["channels"], about["image_size_px"]])
    about["fingerprint"] = content_hash(weights_hash(embedder.network), described)
    write_json(path, about)
    loaded = load_embedder(tmp_path / "run")
    assert loaded.settings == embedder.settings
    assert loaded.fingerprint == about["fingerprint"] != embedder.fingerprint
    save_embedder(tmp_path / "copied", loaded)
    assert load_embedder(tmp_path / "copied").fingerprint == about["fingerprint"]


@pytest.mark.gpu
def test_training_uses_a_gpu_and_embeddings_are_reproducible(tmp_path: Path) -> None:
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    embedder = train(tmp_path)
    assert torch.cuda.max_memory_allocated() > held
    images = store(tmp_path / "store", IDENTITIES).read(["f0_0"])
    assert np.array_equal(embed_images(embedder, images), embed_images(embedder, images))


def test_the_recipe_for_copies_learns_to_find_edited_copies(tmp_path: Path) -> None:
    recipe = RECIPES["copies"]
    how = replace(
        recipe, weights="none", dimension=16, input_px=None,
        training=replace(recipe.training, epochs=8, batch_size=16),
    )  # fmt: skip
    embedder = train(tmp_path, how=how)
    assert embedder.provenance["class_is"] == "image"
    assert embedder.provenance["validation_top1"] > 4 / len(IDENTITIES)
    assert load_embedder(tmp_path / "run").fingerprint == embedder.fingerprint
