"""An index takes over an embedder that is there already, if the same one would be made."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from atlas.core.errors import UserError
from atlas.core.row_file import DamagedFileError
from atlas.inference import openvino_runner
from atlas.inference.settings import RuntimeOptions
from atlas.workflows.embed import index as building
from atlas.workflows.embed.index import build_index
from retrieval import embedding, frozen
from retrieval.embedding import embed_images, exported, load_exported
from retrieval.postprocessing import whitening
from tests.atlas.workflows.embed.exported import FLOAT32
from tests.atlas.workflows.evaluate.evaluated import (
    SIZE_PX,
    save_random_embedder,
    write_evaluated_atlas,
)
from tests.image_sources import Pixels

pytestmark = pytest.mark.skipif(not openvino_runner.installed(), reason="OpenVINO is not installed")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "made"))


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def times_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the source of each embedder that is made."""
    made_from, make = [], building._made

    def making(source, *others):
        made_from.append(source)
        return make(source, *others)

    monkeypatch.setattr(building, "_made", making)
    return made_from


BUILT = """
import sys
import atlas
from atlas.inference.settings import RuntimeOptions
from index.settings import LeakSettings
data, embedder, run = sys.argv[1:]
options = RuntimeOptions(runtime="openvino", precision="float32")
atlas.build_index(data, embedder, f"{run}/index", runtime=options)
"""
WITHOUT_TORCH = """
assert "torch" not in sys.modules
"""
LEAKS = """
few = LeakSettings(planted_copies=20, natural_queries=20, hashes="dhash", sibling_queries=20)
atlas.find_leaks(data, f"{run}/index", f"{run}/leaks", few)
"""


@pytest.mark.parametrize("index_is_kept", [True, False])
def test_a_second_build_and_the_leaks_need_no_torch(folder: Path, index_is_kept: bool) -> None:
    build_index(folder / "data", folder / "embedder", folder / "run" / "index", runtime=FLOAT32)
    before = files(folder / "run" / "index")
    if not index_is_kept:  # the cache still has the exported network and its check
        shutil.rmtree(folder / "run" / "index")
    script = BUILT + (LEAKS if index_is_kept else "") + WITHOUT_TORCH
    words = [str(folder / name) for name in ("data", "embedder", "run")]
    subprocess.run([sys.executable, "-c", script, *words], check=True)
    assert files(folder / "run" / "index") == before


@pytest.mark.parametrize("damaged", ["model.bin", "check-*.json"])
def test_what_is_damaged_in_the_cache_is_made_anew(folder: Path, monkeypatch, damaged) -> None:
    before = files(folder / "run" / "index" / "embedder")
    shutil.rmtree(folder / "run" / "index")
    made_from = times_made(monkeypatch)
    for path in (folder / "run" / "store").rglob(damaged):
        path.write_bytes(path.read_bytes()[:-9])
    build_index(folder / "data", folder / "embedder", folder / "run" / "index", runtime=FLOAT32)
    assert made_from == [str(folder / "embedder")]
    assert files(folder / "run" / "index" / "embedder") == before


def test_damaged_weights_of_an_embedder_are_reported_at_once(folder: Path) -> None:
    embedder = folder / "run" / "index" / "embedder"  # its exported network is in the cache, too
    weights = embedder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"weights\.safetensors was changed or damaged"):
        build_index(folder / "data", embedder, folder / "run" / "two", runtime=FLOAT32)
    assert not (folder / "run" / "two").exists()


@pytest.mark.parametrize("cache_is_kept", [True, False])
def test_an_embedder_that_is_trained_again_meanwhile_is_not_taken_for_the_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, cache_is_kept: bool
) -> None:
    embed = building.embed_store

    def embed_while_it_is_trained(*words, **options):
        save_random_embedder(folder / "embedder", seed=1)
        return embed(*words, **options)

    monkeypatch.setattr(building, "embed_store", embed_while_it_is_trained)
    shutil.rmtree(folder / "run" / "index")
    if not cache_is_kept:
        shutil.rmtree(folder / "run" / "store")
    with pytest.raises(UserError, match="embedder was changed during this command; run it again"):
        build_index(folder / "data", folder / "embedder", folder / "run" / "index", runtime=FLOAT32)
    assert not (folder / "run" / "index").exists()


def test_workers_of_a_cluster_get_an_embedder_with_its_network(folder: Path) -> None:
    held = load_exported(folder / "run" / "index" / "embedder")
    taken = exported(folder / "embedder", held.runtime)  # whose folder has no exported network
    ids, rng = ("a", "b"), np.random.default_rng(0)
    images = dict(zip(ids, rng.integers(0, 256, (2, 1, SIZE_PX, SIZE_PX), np.uint8), strict=True))
    source = Pixels(read=lambda some: np.stack([images[i] for i in some]))
    part = embedding._Embedding(taken, source, folder / "kept").only(ids)
    assert np.array_equal(part(ids), embed_images(held, source.read(ids)))
    assert embedding._Embedding(held, source, folder / "kept").only(ids).embedder == held.folder


@pytest.mark.parametrize(
    "options",
    [RuntimeOptions(runtime="torch"), RuntimeOptions(runtime="openvino", precision="int8")],
)
def test_other_options_make_another_embedder(folder, monkeypatch, options) -> None:
    if options.precision == "int8" and not openvino_runner.installed("nncf"):
        pytest.skip("nncf is not installed")
    made_from = times_made(monkeypatch)
    build_index(folder / "data", folder / "embedder", folder / "run" / "index", runtime=options)
    assert made_from == [str(folder / "embedder")]


def test_another_embedder_is_not_mistaken_for_the_first(folder: Path, monkeypatch) -> None:
    made_from = times_made(monkeypatch)
    shutil.rmtree(folder / "embedder")
    save_random_embedder(folder / "embedder", seed=1)
    index = build_index(
        folder / "data", folder / "embedder", folder / "run" / "index", runtime=FLOAT32
    )
    assert made_from == [str(folder / "embedder")]
    assert len(index) > 0


def test_a_damaged_network_is_made_anew(folder: Path) -> None:
    before = files(folder / "run" / "index" / "embedder")
    damaged = folder / "run" / "index" / "embedder" / "model" / "model.bin"
    damaged.write_bytes(damaged.read_bytes()[:500])
    build_index(folder / "data", folder / "embedder", folder / "run" / "index", runtime=FLOAT32)
    assert files(folder / "run" / "index" / "embedder") == before


def test_a_whitening_is_learned_again_if_its_images_change(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(frozen, "_obtainable_backbone", lambda: "test_resnet")
    monkeypatch.setattr(whitening, "IMAGES_PER_DIMENSION", 2)  # there are only 40 images
    write_evaluated_atlas(tmp_path / "data")
    made_from = times_made(monkeypatch)

    def built() -> np.ndarray:
        index = build_index(tmp_path / "data", "frozen", tmp_path / "index", runtime=FLOAT32)
        return index.opened.embeddings.vectors_ND

    unchosen = build_index(tmp_path / "data", "frozen", tmp_path / "unchosen", runtime=None)
    assert unchosen.opened.provenance["versions"].keys() == {"torch", "timm"}
    made_from.clear()
    first, second = built(), built()
    assert made_from == ["frozen"]
    assert np.array_equal(first, second)
    file = sorted((tmp_path / "data" / "train").glob("*.png"))[0]
    file.write_bytes(sorted((tmp_path / "data" / "train").glob("*.png"))[-1].read_bytes())
    changed = built()
    assert made_from == ["frozen", "frozen"]
    assert not np.array_equal(changed[1:], first[1:])  # the others are whitened in another way
