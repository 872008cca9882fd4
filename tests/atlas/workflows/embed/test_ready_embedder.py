"""An index that is built again takes over its embedder, if the same one would be made."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from atlas.inference import openvino_runner
from atlas.inference.settings import RuntimeOptions
from atlas.training import pretrained, weight_packages
from atlas.workflows.embed import index as building
from atlas.workflows.embed.index import build_index
from retrieval.postprocessing import whitening
from tests.atlas.workflows.embed.exported import FLOAT32
from tests.atlas.workflows.evaluate.evaluated import save_random_embedder, write_evaluated_atlas

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


WITHOUT_TORCH = """
import sys
import atlas
from atlas.inference.settings import RuntimeOptions
from index.settings import LeakSettings
data, embedder, run = sys.argv[1:]
options = RuntimeOptions(runtime="openvino", precision="float32")
atlas.build_index(data, embedder, f"{run}/index", runtime=options)
few = LeakSettings(planted_copies=20, natural_queries=20, hashes="dhash", sibling_queries=20)
atlas.find_leaks(data, f"{run}/index", f"{run}/leaks", few)
assert "torch" not in sys.modules
"""


def test_a_second_build_and_the_leaks_need_no_torch(made: Path) -> None:
    before = files(made / "run" / "index")
    words = [str(made / name) for name in ("data", "embedder", "run")]
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words], check=True)
    assert files(made / "run" / "index") == before


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
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if not pretrained.available(weight_packages.LITE0):
        pytest.skip(f"{weight_packages.PACKAGES[weight_packages.LITE0]} is not installed")
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
