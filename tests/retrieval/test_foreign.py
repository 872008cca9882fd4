"""Embedders whose network is a file that somebody else made."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from atlas.core.errors import MissingStageError, UserError
from atlas.core.result_folder import folder_written_beside
from atlas.dataset.store import ImageStore
from retrieval.embedder import Embedder, load_embedder, save_embedder
from retrieval.embedding import about, embed_images, embed_store
from retrieval.foreign import foreign_embedder
from retrieval.sources import FileSource
from tests.atlas.inference.files import Tiny, save_onnx, save_torchscript
from tests.atlas.inference.test_network_files import needs_onnx
from tests.atlas.training.stores import store_of, tiny_store
from tests.retrieval import prepared_by_hand as by_hand

SIZE_PX = 32
SOUND = f'size_px = {SIZE_PX}\nscale = "unit"\nviews = 1\nwhiten = false\n'


def network_in(
    folder: Path, text: str = SOUND, *, inputs: int = 4, seed: int = 0, features: int = 20
) -> FileSource:
    """Write a TorchScript file and how images are prepared for it."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.toml").write_text(text)
    network = Tiny(inputs, features, seed=seed)
    return FileSource(kind="torchscript", file=save_torchscript(folder / "tiny.pt", network))


def embedder_in(folder: Path, images: ImageStore, text: str = SOUND, **options: int) -> Embedder:
    return foreign_embedder(images, images.ids, network_in(folder, text, **options))


@pytest.mark.parametrize("views", [1, 8])
@pytest.mark.parametrize("size_px", [SIZE_PX, 20, 48])
@pytest.mark.parametrize("scale", by_hand.SCALES)
def test_an_embedding_is_what_the_network_gives_for_images_prepared_by_hand(
    tmp_path: Path, scale: str, size_px: int, views: int
) -> None:
    images = tiny_store(tmp_path / "store", count=3)
    inputs, mean, deviation = ("c3", "", "c1"), (0.5, -0.25, 0.125), (2.0, 0.5, 1.0)
    made = embedder_in(
        tmp_path, images,
        f'size_px = {size_px}\nscale = "{scale}"\nchannels = {json.dumps(inputs)}\n'
        f"mean = {list(mean)}\ndeviation = {list(deviation)}\nviews = {views}\nwhiten = false\n",
        inputs=3,
    )  # fmt: skip
    prepare = partial(
        by_hand.prepared, channels=images.channels, inputs=inputs, scale=by_hand.SCALES[scale],
        mean=mean, deviation=deviation, size_px=size_px,
    )  # fmt: skip
    found = embed_store(made, images, images.ids, folder=None).vectors_ND
    expected = [by_hand.embedding(Tiny(3), i, prepare, views) for i in images.read(images.ids)]
    np.testing.assert_allclose(found, expected, atol=2e-5)


@needs_onnx
@pytest.mark.parametrize("views", [1, 8])
def test_an_onnx_file_gives_the_same_embedding_as_its_network(tmp_path: Path, views: int) -> None:
    images = tiny_store(tmp_path / "store", count=9)  # more than a batch
    (tmp_path / "tiny.toml").write_text(
        f'size_px = {SIZE_PX}\nscale = "min_max"\nviews = {views}\nwhiten = false\n'
    )
    file = save_onnx(tmp_path / "tiny.onnx", Tiny(4), inputs=4, size_px=SIZE_PX)
    made = foreign_embedder(images, images.ids, FileSource(kind="onnx", file=file))
    prepare = partial(
        by_hand.prepared, channels=images.channels, inputs=images.channels,
        scale=by_hand.min_max, mean=(0,) * 4, deviation=(1,) * 4, size_px=SIZE_PX,
    )  # fmt: skip
    found = embed_store(made, images, images.ids, folder=None).vectors_ND
    expected = [by_hand.embedding(Tiny(4), i, prepare, views) for i in images.read(images.ids)]
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert "onnxruntime" in about(made)["versions"]


def test_a_constant_channel_becomes_0(tmp_path: Path) -> None:
    gray = np.random.default_rng(0).integers(0, 255, (3, SIZE_PX, SIZE_PX), np.uint8)
    gray[1] = 200
    images = store_of(tmp_path / "store", {"a": gray})
    text = SOUND.replace("unit", "min_max")
    found = embed_images(embedder_in(tmp_path, images, text, inputs=3), gray[None])
    black = 'channels = ["c0", "", "c2"]\n'
    expected = embed_images(embedder_in(tmp_path, images, text + black, inputs=3), gray[None])
    assert np.array_equal(found, expected)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_all_channels_are_inputs_and_an_only_one_three_times(tmp_path: Path, channels: int) -> None:
    images = tiny_store(tmp_path / "store", count=2, channels=channels)
    inputs = 3 if channels == 1 else channels
    made = embedder_in(tmp_path, images, inputs=inputs)
    image = images.read(["image00"])
    given = torch.from_numpy(image).float().expand(-1, inputs, -1, -1) / 255
    expected = nn.functional.normalize(Tiny(inputs)(given).detach()).numpy()
    np.testing.assert_allclose(embed_images(made, image), expected, atol=1e-5)


def test_the_embedding_is_whitened_on_the_images_of_the_atlas(tmp_path: Path) -> None:
    images = tiny_store(tmp_path / "store", count=70)
    plain, white = (
        embedder_in(tmp_path, images, SOUND.replace("false", word), features=40)
        for word in ("false", "true")
    )
    vectors = embed_store(plain, images, images.ids, folder=None).vectors_ND
    found = embed_store(white, images, images.ids, folder=None).vectors_ND
    assert found.shape == (70, white.settings.dimension) == (70, 17)  # 4 images per dimension
    # Directions have no sign, so cosines are compared.
    expected = by_hand.whitened(vectors.astype(np.float64), 17)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-2)
    assert plain.fingerprint != white.fingerprint


@pytest.mark.parametrize("whiten", ["true", "false"])
def test_a_folder_is_complete_without_the_file_it_was_made_from(
    tmp_path: Path, whiten: str
) -> None:
    images = tiny_store(tmp_path / "store", count=70)
    made = embedder_in(tmp_path / "theirs", images, SOUND.replace("false", whiten))
    save_embedder(tmp_path / "saved", made)
    for file in (tmp_path / "theirs").iterdir():
        file.unlink()
    loaded = load_embedder(tmp_path / "saved")
    assert loaded.fingerprint == made.fingerprint
    assert loaded.settings == made.settings
    expected = embed_store(made, images, images.ids, folder=None)
    again = embed_store(loaded, images, images.ids, folder=None)
    assert np.array_equal(again.vectors_ND, expected.vectors_ND)
    assert again.provenance == expected.provenance
    save_embedder(tmp_path / "copied", loaded)  # as an update does
    assert load_embedder(tmp_path / "copied").fingerprint == made.fingerprint


def test_equal_work_gives_equal_bytes(tmp_path: Path) -> None:
    images = tiny_store(tmp_path / "store", count=70)
    source = network_in(tmp_path / "theirs", SOUND.replace("false", "true"))
    for name in ("one", "two"):
        save_embedder(tmp_path / name, foreign_embedder(images, images.ids, source))
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["embedder.json", "held_out.json", "network.pt", "weights.safetensors"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "network.pt").read_bytes() == source.file.read_bytes()


def test_the_fingerprint_depends_on_the_file_and_its_preparation_but_not_on_its_name(
    tmp_path: Path,
) -> None:
    images = tiny_store(tmp_path / "store", count=3)
    first = embedder_in(tmp_path / "theirs", images)
    source = network_in(tmp_path / "theirs")
    renamed = source.file.rename(tmp_path / "renamed.pt")
    (tmp_path / "renamed.toml").write_text(SOUND)
    same = foreign_embedder(images, images.ids, replace(source, file=renamed))
    assert same.fingerprint == first.fingerprint
    others = [
        embedder_in(tmp_path / "theirs", images, seed=1),
        *(
            embedder_in(tmp_path / "theirs", images, text)
            for text in (
                SOUND.replace("unit", "counts"),
                SOUND.replace("32", "40"),
                SOUND + "mean = 0.5\n",
                SOUND + 'channels = ["c1", "c0", "c2", "c3"]\n',
                SOUND.replace("views = 1", "views = 8"),
            )
        ),
    ]
    assert len({each.fingerprint for each in [first, *others]}) == 1 + len(others)


def test_a_file_that_was_exchanged_is_refused(tmp_path: Path) -> None:
    images = tiny_store(tmp_path / "store", count=3)
    made = embedder_in(tmp_path / "theirs", images)
    save_embedder(tmp_path / "saved", made)
    other = network_in(tmp_path / "other", seed=1).file
    (tmp_path / "saved" / "network.pt").write_bytes(other.read_bytes())
    with pytest.raises(UserError, match=r"network\.pt is not the network that embedder\.json"):
        load_embedder(tmp_path / "saved")
    with folder_written_beside(tmp_path / "listed", written_by="build_index") as folder:
        save_embedder(folder, made)
    (tmp_path / "listed" / "network.pt").write_bytes(other.read_bytes())
    with pytest.raises(UserError, match=r"network\.pt was changed or damaged after it was written"):
        load_embedder(tmp_path / "listed")
    (tmp_path / "saved" / "network.pt").unlink()
    with pytest.raises(MissingStageError, match=r"network\.pt does not exist"):
        load_embedder(tmp_path / "saved")


def test_a_file_that_changes_while_it_is_used_is_not_saved(tmp_path: Path) -> None:
    images = tiny_store(tmp_path / "store", count=3)
    made = embedder_in(tmp_path / "theirs", images)
    network_in(tmp_path / "theirs", seed=1)
    with pytest.raises(UserError, match=r"tiny\.pt was changed during this command"):
        save_embedder(tmp_path / "saved", made)
    assert not (tmp_path / "saved" / "network.pt").exists()


class Noisy(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(images, 0.5, training=True).mean((2, 3))


class OfItsBatch(nn.Module):
    """Normalise features by the images of the batch, as BatchNorm does in training mode."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = images.mean((2, 3))
        return features - features.mean(0, keepdim=True) + 0.01


class Blind(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 8), self.value)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Noisy(), "different vectors for the same image; export it in"),
        (OfItsBatch(), "different vectors for the same image; export it in"),
        (Blind(0.0), "the same vector for all images; check scale"),
        (Blind(1.0), "the same vector for all images; check scale"),
    ],
)
def test_a_network_that_gives_no_vector_of_each_image_is_refused(
    tmp_path: Path, network: nn.Module, said: str
) -> None:
    images = tiny_store(tmp_path / "store", count=3)
    source = network_in(tmp_path)
    save_torchscript(source.file, network)
    with pytest.raises(UserError, match=f"gives {said}"):
        foreign_embedder(images, images.ids, source)


def test_a_network_for_other_channels_is_refused_with_what_to_check(tmp_path: Path) -> None:
    images = tiny_store(tmp_path / "store", count=2)
    with pytest.raises(
        UserError, match=r"tiny\.pt fails .* check channels and size_px in .*\.toml"
    ):
        embedder_in(tmp_path, images, inputs=3)
