from functools import partial
from pathlib import Path

import numpy as np
import pytest

from atlas.core.row_cache import fill_rows
from atlas.synthetic.edits import rotated
from atlas.training import pretrained, weight_packages
from retrieval import embedding
from retrieval.embedder import INPUTS_AT_ONCE, Embedder, load_embedder, save_embedder
from retrieval.embedding import embed_images, embed_store
from retrieval.frozen import frozen_embedder
from tests.atlas.training.stores import tiny_store
from tests.image_sources import Pixels


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        if not any(map(pretrained.available, ("resnet50", weight_packages.LITE0))):
            pytest.skip(f"{weight_packages.PACKAGES[weight_packages.LITE0]} is not installed")
        images = tiny_store(tmp_path_factory.mktemp("frozen"), count=5)
        return frozen_embedder(images, images.ids)


def test_embeddings_have_unit_length_and_are_reproducible(frozen: Embedder, tmp_path: Path) -> None:
    images = tiny_store(tmp_path / "store", count=5)
    first = embed_store(frozen, images, images.ids, folder=None)
    again = embed_store(frozen, images, images.ids[::-1], folder=None)
    assert np.allclose(np.linalg.norm(first.vectors_ND, axis=1), 1, atol=1e-5)
    assert np.array_equal(first.vectors_ND, again.vectors_ND[::-1])
    alone = embed_images(frozen, images.read([images.ids[3]]))
    assert np.array_equal(alone[0], first.vectors_ND[3])
    assert first.provenance["embedder"] == frozen.fingerprint
    assert first.provenance["images"] == images.content_hash


def test_rotated_images_have_equal_embeddings(frozen: Embedder, tmp_path: Path) -> None:
    image = tiny_store(tmp_path / "store", count=1).read(["image00"])[0]
    vectors = embed_images(frozen, np.stack([rotated(image, view) for view in range(8)]))
    assert np.allclose(vectors @ vectors[0], 1, atol=1e-5)
    assert np.abs(vectors - vectors[0]).max() < 1e-5


def test_a_killed_embedding_is_resumed_with_the_same_result(
    frozen: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "fill_rows", partial(fill_rows, rows_per_file=2))
    images = tiny_store(tmp_path / "small", count=5)
    asked: list[str] = []

    def read(ids, *, killed_at: str | None = None):
        if killed_at in ids:
            raise KeyboardInterrupt
        asked.extend(ids)
        return images.read(ids)

    def run(killed_at: str | None = None):
        source = Pixels(partial(read, killed_at=killed_at), images.keys)
        return embed_store(frozen, source, images.ids, folder=tmp_path / "kept")

    with pytest.raises(KeyboardInterrupt):
        run(killed_at="image02")
    asked.clear()
    resumed = run()
    assert asked == ["image02", "image03", "image04"]
    whole = embed_store(frozen, images, images.ids, folder=None)
    assert np.array_equal(resumed.vectors_ND, whole.vectors_ND)
    assert resumed.provenance == whole.provenance


def test_changed_images_with_the_same_ids_are_embedded_again(
    frozen: Embedder, tmp_path: Path
) -> None:
    one = tiny_store(tmp_path / "one", count=2, seed=1)
    other = tiny_store(tmp_path / "other", count=2, seed=2)
    kept = [embed_store(frozen, s, s.ids, folder=tmp_path / "kept") for s in (one, other)]
    assert not np.array_equal(kept[0].vectors_ND, kept[1].vectors_ND)


def test_one_image_more_costs_one_embedding(frozen: Embedder, tmp_path: Path) -> None:
    images = tiny_store(tmp_path / "store", count=5)
    before = embed_store(frozen, images, images.ids[1:], folder=tmp_path / "kept")
    asked: list[str] = []

    def read(ids):
        asked.extend(ids)
        return images.read(ids)

    after = embed_store(frozen, Pixels(read, images.keys), images.ids, folder=tmp_path / "kept")
    assert asked == ["image00"]
    whole = embed_store(frozen, images, images.ids, folder=None)
    assert np.array_equal(after.vectors_ND, whole.vectors_ND)
    assert after.provenance == whole.provenance != before.provenance


def test_no_images_give_no_rows(frozen: Embedder, tmp_path: Path) -> None:
    images = tiny_store(tmp_path / "store", count=5)
    assert embed_store(frozen, images, [], folder=tmp_path / "kept").ids == ()


def test_a_frozen_embedder_says_what_it_is_and_loads_again(
    frozen: Embedder, tmp_path: Path
) -> None:
    assert "not trained further" in frozen.started_from
    save_embedder(tmp_path / "frozen", frozen)
    loaded = load_embedder(tmp_path / "frozen")
    assert loaded.fingerprint == frozen.fingerprint
    images = tiny_store(tmp_path / "store", count=1).read(["image00"])
    assert np.array_equal(embed_images(loaded, images), embed_images(frozen, images))


def test_every_batch_holds_the_same_number_of_views(frozen: Embedder) -> None:
    assert frozen.images_at_once * frozen.settings.views % INPUTS_AT_ONCE == 0


def test_a_frozen_embedding_does_not_depend_on_exposure(frozen: Embedder, tmp_path: Path) -> None:
    images = tiny_store(tmp_path / "store", count=2).read(["image00", "image01"])
    dim, bright = images // 4, (images // 4) * 3
    one, other = (embed_images(frozen, some) for some in (dim, bright))
    assert (one * other).sum(1).min() > 0.99
    assert (one[0] * one[1]).sum() < (one * other).sum(1).min()
