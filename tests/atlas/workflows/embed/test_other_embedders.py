"""Indexes whose embedder is a network of somebody else, from the file to the answers."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atlas.core.errors import DataError, ProvenanceError, UserError
from atlas.inference.settings import RuntimeOptions
from atlas.workflows.embed.embedder import export_embedder
from atlas.workflows.embed.index import Index, build_index, open_index
from atlas.workflows.embed.lookup import lookup
from atlas.workflows.evaluate.ablation import ablate_retrieval
from atlas.workflows.evaluate.embedder import evaluate
from atlas.workflows.leaks.finding import find_leaks
from atlas.workflows.runs.update import update
from index.search.open_search import open_search
from index.settings import LeakSettings
from retrieval.embedder import load_embedder
from tests.atlas.inference.files import Tiny, save_onnx, save_torchscript, save_weights
from tests.atlas.inference.test_network_files import needs_onnx
from tests.atlas.workflows.evaluate.evaluated import SIZE_PX, write_evaluated_atlas

TOML = f'size_px = {SIZE_PX}\nscale = "unit"\nmean = 0.5\ndeviation = 0.25\n'
TORCH = RuntimeOptions(runtime="torch", precision="float32")


def torchscript(folder: Path, seed: int = 0) -> str:
    path = save_torchscript(folder / "theirs.torchscript.pt", Tiny(seed=seed))
    (folder / "theirs.torchscript.toml").write_text(TOML)
    return f"torchscript:{path}"


def onnx(folder: Path) -> str:
    path = save_onnx(folder / "theirs.onnx", Tiny(), size_px=SIZE_PX)
    (folder / "theirs.toml").write_text(TOML)
    return f"onnx:{path}"


def transformer(folder: Path) -> str:
    return save_weights(folder / "theirs.safetensors", "test_vit")


KINDS = [torchscript, pytest.param(onnx, marks=needs_onnx), transformer]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_evaluated_atlas(tmp_path / "data")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    (tmp_path / "theirs").mkdir()
    return tmp_path / "theirs"


def built(data: Path, embedder: str, out: Path) -> Index:
    return build_index(data, embedder, out, runtime=TORCH)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("write", KINDS)
def test_an_index_answers_alone_after_its_embedder_is_gone(
    tmp_path: Path, data: Path, theirs: Path, write: Callable[[Path], str]
) -> None:
    embedder = write(theirs)
    for name in ("one", "two"):
        built(data, embedder, tmp_path / name / "index")
    one, two = (files_of(tmp_path / name / "index") for name in ("one", "two"))
    assert one == two  # equal work gives equal bytes
    shutil.rmtree(theirs)
    shutil.copytree(tmp_path / "one" / "index", tmp_path / "moved")
    found = lookup(["copy0", str(data / "test" / "copy1.png")], tmp_path / "moved", k=2,
                   montage=tmp_path / "lookup.png", data=data)  # fmt: skip
    assert not found.problems
    assert list(found.table.loc[found.table["rank"] == 1, "match_id"]) == ["field0_1"] * 2
    hits = open_index(tmp_path / "moved").search("copy0", k=1)
    assert hits["match"].tolist() == ["field0_1"]
    assert hits["similarity"][0] > 0.9


@pytest.mark.parametrize("write", KINDS)
def test_an_update_keeps_the_embedder_and_embeds_what_is_new(
    tmp_path: Path, data: Path, theirs: Path, write: Callable[[Path], str]
) -> None:
    table = (data / "train.csv").read_text()
    head, first, *rest = table.splitlines()
    (data / "train.csv").write_text("\n".join([head, *rest, ""]))
    run = tmp_path / "run"
    before = built(data, write(theirs), run / "index").opened.embeddings
    shutil.rmtree(theirs)
    (data / "train.csv").write_text(table)
    assert update(data, run).added == {first.split(",")[0]}
    after = open_index(run / "index").opened.embeddings
    assert after.provenance["embedder"] == before.provenance["embedder"]
    assert np.array_equal(after.aligned_to(before.ids).vectors_ND, before.vectors_ND)
    assert load_embedder(run / "index" / "embedder").started_from.startswith(("theirs", "weights"))


@pytest.mark.slow
def test_copies_are_found_with_somebody_elses_network(
    tmp_path: Path, data: Path, theirs: Path
) -> None:
    built(data, torchscript(theirs), tmp_path / "index")
    settings = LeakSettings(planted_copies=24, natural_queries=24, accept_unproven_copies=True)
    found = find_leaks(data, tmp_path / "index", tmp_path / "leaks", settings).table
    copies = found[found["relation"] == "same_image"].set_index("Id")["match_id"]
    assert {"copy0", "copy1"} <= set(copies.index)
    assert set(copies[["copy0", "copy1"]]) == {"field0_1"}


def test_another_network_belongs_to_another_index(tmp_path: Path, data: Path, theirs: Path) -> None:
    first = built(data, torchscript(theirs), tmp_path / "first" / "index")
    other = built(data, torchscript(theirs, seed=1), tmp_path / "other" / "index")
    vectors = other.opened.embeddings
    with pytest.raises(ProvenanceError):
        open_search(first.opened).vectors.search(vectors.aligned_to(vectors.ids[:1]), 1)
    files = [tmp_path / name / "index" / "embedder" / "network.pt" for name in ("first", "other")]
    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(UserError, match=r"network\.pt was changed or damaged after"):
        lookup(["copy0"], first.folder, montage=tmp_path / "lookup.png")


@pytest.mark.parametrize(
    "asked",
    [RuntimeOptions(runtime="openvino"), RuntimeOptions(precision="int8"),
     RuntimeOptions(runtime="torch", precision="bfloat16")],
)  # fmt: skip
def test_the_network_of_a_file_runs_as_it_is(
    tmp_path: Path, data: Path, theirs: Path, asked: RuntimeOptions
) -> None:
    network = torchscript(theirs)
    with pytest.raises(
        UserError, match="runs as it is, in float32; omit --runtime and --precision"
    ):
        build_index(data, network, tmp_path / "index", runtime=asked)
    assert not (tmp_path / "store").exists()  # nothing was decoded before
    built(data, network, tmp_path / "index")
    with pytest.raises(UserError, match="runs as it is"):
        build_index(data, tmp_path / "index" / "embedder", tmp_path / "again", runtime=asked)
    with pytest.raises(UserError, match="is a file of somebody else; use that file itself"):
        export_embedder(tmp_path / "index" / "embedder", tmp_path / "model.onnx")


def test_mistakes_are_reported_before_images_are_decoded(
    tmp_path: Path, data: Path, theirs: Path
) -> None:
    network = torchscript(theirs)
    settings = theirs / "theirs.torchscript.toml"
    settings.write_text('size_px = 0\nchannels = ["red"]\n')
    for run in (
        lambda: build_index(data, network, tmp_path / "index"),
        lambda: evaluate(data, network, tmp_path / "evaluation"),
        lambda: ablate_retrieval(data, network, tmp_path / "ablation"),
    ):
        with pytest.raises(DataError, match="3 problems") as caught:
            run()
        assert caught.value.where == str(settings)
    settings.unlink()
    with pytest.raises(UserError, match=r"theirs\.torchscript\.toml does not exist; write it"):
        build_index(data, network, tmp_path / "index")
    with pytest.raises(UserError, match="there is no file"):
        build_index(data, "onnx:nowhere.onnx", tmp_path / "index")
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
@pytest.mark.parametrize("write", KINDS)
def test_an_evaluation_measures_any_network(
    tmp_path: Path, data: Path, theirs: Path, write: Callable[[Path], str]
) -> None:
    embedder = write(theirs)
    measured = evaluate(data, embedder, tmp_path / "evaluation")
    # The fields of an identity show one texture, so any network finds them.
    assert "100.0%" in measured.summary
    with pytest.raises(UserError, match="always averages 8 views; omit --views"):
        evaluate(data, embedder, tmp_path / "evaluation", views=1)
    table = ablate_retrieval(data, embedder, tmp_path / "ablation")
    assert set(table["views"]) == {8}
