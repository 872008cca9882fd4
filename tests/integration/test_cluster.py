"""The main job gives the same bytes by this process, by a Ray cluster, and in parts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from atlas.core.execution import ExecutionSettings, PartEndedError
from atlas.core.row_cache import cache_folder
from atlas.inference.settings import RuntimeOptions
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.classify.prediction import predict
from atlas.workflows.classify.training import train_classifier
from atlas.workflows.embed.index import build_index
from atlas.workflows.leaks.finding import find_leaks
from atlas.workflows.submit.submission import make_submission
from classify import recipes
from index.settings import LeakSettings
from tests.atlas.inference.files import save_weights

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]

DRAWN = DrawnAtlasSettings(
    identities=8, fields_per_identity=3, size_px=64, seed=5, test_fields_per_identity=1,
    novel_identities=4, copies=6,
)  # fmt: skip
LEAKS = LeakSettings(
    neighbours=5, planted_copies=20, natural_queries=20, hashes="dhash",
    accept_unproven_copies=True, accept_unproven_siblings=True,
)  # fmt: skip

TORCH = RuntimeOptions(runtime="torch", precision="float32")  # which needs no check


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "data"
    draw_atlas(DRAWN, folder, jobs=1)
    return folder


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small network that needs no training, whose weights every process reads from a file."""
    return save_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", "test_resnet")


@pytest.fixture(scope="module")
def classifier(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "classifier"
    smoke = recipes.RECIPES["smoke"]
    train_classifier(data, out, replace(smoke, training=replace(smoke.training, epochs=1)))
    return out


@pytest.fixture(scope="module")
def here(
    data: Path, embedder: str, classifier: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The main job, done by this process alone."""
    run = tmp_path_factory.mktemp("here")
    main_job(data, embedder, classifier, run, ExecutionSettings())
    return run


def main_job(
    data: Path, embedder: str, classifier: Path, run: Path, execution: ExecutionSettings
) -> None:
    build_index(data, embedder, run / "index", runtime=TORCH, execution=execution)
    find_leaks(data, run / "index", run / "leaks", LEAKS, execution=execution)
    predict(data, classifier, run / "probabilities.h5", execution=execution)
    make_submission(data, run / "leaks", classifier, run / "submission")


def results_of(run: Path) -> dict[str, bytes]:
    """Return the bytes of all files that the commands wrote, without the cache."""
    files = (path for path in run.rglob("*") if path.is_file() and "store" not in path.parts)
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


@pytest.fixture
def address() -> Iterator[str]:
    """A cluster of one node."""
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'atlas-retrieval[ray]'")
    from ray.cluster_utils import Cluster

    from atlas.core.parallel import CORES

    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": CORES, "object_store_memory": 80 << 20, "include_dashboard": False
        },
    )  # fmt: skip
    yield cluster.address
    cluster.shutdown()


def test_a_ray_cluster_gives_the_bytes_of_one_process(
    address: str, data: Path, embedder: str, classifier: Path, here: Path, tmp_path: Path
) -> None:
    ray = ExecutionSettings(executor="ray", ray_address=address)
    main_job(data, embedder, classifier, tmp_path, ray)
    one, other = results_of(here), results_of(tmp_path)
    assert sorted(one) == sorted(other)
    assert [name for name, content in one.items() if other[name] != content] == []


def test_parts_fill_the_cache_from_which_a_whole_run_gives_the_same_bytes(
    data: Path, embedder: str, tmp_path: Path
) -> None:
    out, expected = tmp_path / "parts" / "index", tmp_path / "whole" / "index"
    assert "which the next stage needs from the other parts" in part_of_index(
        data, embedder, out, 1
    )
    for number in (2, 1):  # the first part could not embed before all images were decoded
        last = part_of_index(data, embedder, out, number)
    assert last.startswith("Part 1/2 is done, and so are all other parts")
    assert not out.exists()
    before = sorted(cache_folder(out).rglob("part-*.h5"))
    build_index(data, embedder, out, runtime=TORCH)
    assert sorted(cache_folder(out).rglob("part-*.h5")) == before
    build_index(data, embedder, expected, runtime=TORCH)
    assert results_of(out) == results_of(expected)


def part_of_index(data: Path, embedder: str, out: Path, number: int) -> str:
    settings = ExecutionSettings(part=f"{number}/2", wait_minutes=0)
    with pytest.raises(PartEndedError) as ended:
        build_index(data, embedder, out, runtime=TORCH, execution=settings)
    return str(ended.value)
