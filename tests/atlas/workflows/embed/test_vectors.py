from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.core.errors import DataError, MissingStageError, UserError, command_line
from atlas.core.row_cache import fill_rows
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.manifest import read_manifest
from atlas.workflows.embed.vectors import joined, open_vectors
from classify import prediction as kept
from classify.classifier import load_classifier
from tests.atlas.workflows.evaluate.evaluated import (
    HELD_OUT,
    LABELS,
    SIZE_PX,
    save_random_classifier,
    save_random_embedder,
    write_evaluated_atlas,
)
from tests.conftest import write_tiny_atlas


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors")
    write_evaluated_atlas(folder / "data")
    save_random_embedder(folder / "embedder")
    save_random_classifier(folder / "classifier")
    return folder


@pytest.mark.parametrize("kind", ["embedder", "classifier"])
def test_either_gives_vectors_of_unit_length_in_the_order_asked_for(made: Path, kind: str) -> None:
    manifest = read_manifest(made / "data")
    source = open_vectors(str(made / kind), manifest, made / "store")
    assert source.kind == kind
    assert source.store.size_px == SIZE_PX
    ids = manifest.ids[:6]
    first, rotated = source.embed(ids), source.embed(ids[::-1])
    assert rotated.ids == ids[::-1]
    assert np.array_equal(rotated.vectors_ND[::-1], first.vectors_ND)
    assert np.allclose(np.linalg.norm(first.vectors_ND, axis=1), 1, atol=1e-5)
    assert source.held_out == (HELD_OUT if kind == "embedder" else type(HELD_OUT)())


def test_a_classifiers_features_are_what_its_last_layer_sees(made: Path) -> None:
    manifest = read_manifest(made / "data")
    source = open_vectors(str(made / "classifier"), manifest, made / "store")
    ids = manifest.ids[:5]
    vectors = source.embed(ids).vectors_ND
    network = load_classifier(made / "classifier").network.eval()
    seen: list[torch.Tensor] = []
    network.head[-1].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        logits = network(torch.from_numpy(source.store.read(ids)))
    assert logits.shape == (5, len(LABELS))
    expected = torch.nn.functional.normalize(seen[0], dim=1).numpy()
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_a_killed_embedding_of_features_goes_on(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "fill_rows", partial(fill_rows, rows_per_file=2))
    manifest = read_manifest(made / "data")
    source = open_vectors(str(made / "classifier"), manifest, tmp_path)
    ids = manifest.ids[:5]
    source.embed(manifest.ids[5:6])  # now the runtime is chosen
    read, asked = type(source.store).read, []

    def read_some(store, some):
        asked.append(tuple(some))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return read(store, some)

    monkeypatch.setattr(type(source.store), "read", read_some)
    with pytest.raises(KeyboardInterrupt):
        source.embed(ids)
    source.embed(ids)
    assert asked == [ids[:2], ids[2:4], ids[2:4], ids[4:]]


def test_views_take_the_place_of_the_embedders_own(made: Path) -> None:
    manifest = read_manifest(made / "data")
    own, one, eight = (
        open_vectors(str(made / "embedder"), manifest, made / "store", views=views).embed(
            manifest.ids[:3]
        )
        for views in (None, 1, 8)
    )
    assert np.array_equal(own.vectors_ND, one.vectors_ND)
    assert not np.allclose(one.vectors_ND, eight.vectors_ND, atol=1e-3)
    assert one.provenance["embedder"] != eight.provenance["embedder"]


def test_views_of_a_classifier_are_refused(made: Path) -> None:
    manifest = read_manifest(made / "data")
    with pytest.raises(UserError, match="omit --views"):
        open_vectors(str(made / "classifier"), manifest, made / "store", views=8)


def test_what_is_not_there_names_the_command(made: Path) -> None:
    manifest = read_manifest(made / "data")
    with pytest.raises(
        MissingStageError, match=f"{command_line('train_embedder')} .*--embedder frozen"
    ):
        open_vectors(str(made / "nothing"), manifest, made / "store")


@pytest.mark.parametrize("kind", ["embedder", "classifier"])
def test_images_of_other_channels_are_refused(made: Path, tmp_path: Path, kind: str) -> None:
    manifest = read_manifest(write_tiny_atlas(tmp_path / "data", channels=("red", "green")))
    with pytest.raises(DataError, match="trained on channels gray; the data has red, green"):
        open_vectors(str(made / kind), manifest, tmp_path / "store")


def test_sets_are_joined_and_empty_ones_add_nothing() -> None:
    def of(*ids: str) -> EmbeddingSet:
        rows = np.ones((len(ids), 2 if ids else 0), np.float32)
        return EmbeddingSet(ids=ids, vectors_ND=rows, provenance={"of": "one making"})

    both = joined([of("a"), of(), of("b", "c")])
    assert both.ids == ("a", "b", "c")
    assert both.vectors_ND.shape == (3, 2)
