"""From an embedder to an index whose queries are embedded as its vectors were."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.cli.embed import runtime_lines
from atlas.core.contents import update_contents
from atlas.core.errors import ProvenanceError, UserError
from atlas.core.files import content_hash
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from atlas.inference import openvino_runner
from atlas.inference.settings import RuntimeOptions
from atlas.workflows.embed import runtime_choice
from atlas.workflows.embed.index import Index, build_index
from atlas.workflows.embed.lookup import lookup
from atlas.workflows.embed.runtime_choice import LARGEST_FALL, Recall, recall_of
from index.copies.images import Images
from index.copies.trials import plant_copies
from index.index_folder import load_index
from index.search.open_search import open_search
from retrieval.embedder import load_embedder
from retrieval.embedding import embed_images, embed_store, load_for_queries
from tests.atlas.workflows.embed.exported import FLOAT32
from tests.atlas.workflows.evaluate.evaluated import (
    SIZE_PX,
)

pytestmark = pytest.mark.skipif(not openvino_runner.installed(), reason="OpenVINO is not installed")

COPIES = 100  # of 40 images: in three rounds
TORCH = RuntimeOptions(runtime="torch", precision="float32")


def built(made: Path, out: Path, runtime: RuntimeOptions | None) -> Index:
    return build_index(made / "data", str(made / "embedder"), out, runtime=runtime)


def runtime_json(index: Path) -> dict:
    return json.loads((index / "embedder" / "runtime.json").read_text())


def test_an_index_keeps_what_it_was_embedded_by_and_how_that_was_checked(made: Path) -> None:
    kept = runtime_json(made / "run" / "index")
    assert (kept["runtime"], kept["precision"]) == ("openvino", "float32")
    (check,) = kept["checks"]
    assert check["passed"]
    assert check["images"] == 8  # an export in float32 needs no more
    assert check["cosine_percentile_1"] >= 0.9999
    index = load_index(made / "run" / "index")
    assert index.embeddings.provenance["embedder"].endswith(" openvino float32")
    assert "openvino" in index.embeddings.provenance["versions"]


def test_queries_are_embedded_bit_for_bit_as_the_index_was(made: Path, tmp_path: Path) -> None:
    folder = made / "run" / "index"
    index, embedder = load_index(folder), load_embedder(folder / "embedder")
    store = fill_store(read_manifest(made / "data"), tmp_path / "store", size_px=SIZE_PX)
    ids = index.embeddings.ids[:3]
    expected = index.embeddings.aligned_to(ids).vectors_ND
    assert np.array_equal(embed_images(embedder, store.read(ids)), expected)
    by_torch = embed_images(replace(embedder, runtime=None), store.read(ids))
    assert not np.array_equal(by_torch, expected)
    shutil.copytree(folder, tmp_path / "alone")  # with all that a query needs
    found = lookup([ids[0]], tmp_path / "alone", k=1, montage=tmp_path / "m.png").table
    nearest = open_search(index).vectors.search(index.embeddings.aligned_to(ids[:1]), 1)
    assert found["match_id"][0] == nearest.reference_ids_NK[0, 0]
    assert np.float32(found["similarity"][0]) == nearest.similarity_NK[0, 0]


def test_vectors_of_another_precision_are_refused(made: Path, tmp_path: Path) -> None:
    index = load_index(made / "run" / "index")
    store = fill_store(read_manifest(made / "data"), tmp_path / "store", size_px=SIZE_PX)
    by_torch = embed_store(load_embedder(made / "embedder"), store, store.ids[:2], folder=None)
    with pytest.raises(ProvenanceError, match="openvino float32"):
        open_search(index).vectors.search(by_torch, 1)


def test_a_check_is_not_made_again(made: Path, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(made / "run" / "store", tmp_path / "store")

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(runtime_choice._Checker, "_measured", never)
    again = built(made, tmp_path / "index", FLOAT32)
    assert runtime_json(tmp_path / "index") == runtime_json(made / "run" / "index")
    first = load_index(made / "run" / "index").embeddings.vectors_ND
    assert np.array_equal(again.opened.embeddings.vectors_ND, first)
    with pytest.raises(AssertionError, match="measured again"):
        built(made, tmp_path / "other" / "index", FLOAT32)


def test_what_fails_its_check_gives_way_and_it_is_said(made: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(runtime_choice.LEAST_COSINE, "float32", 1.1)
    said = tuple(runtime_lines(built(made, tmp_path / "index", FLOAT32).runtime_checks))
    assert said[0].startswith("not by openvino float32: the 1st percentile of the cosine")
    assert said[0].endswith("(8 images)")
    assert said[1] == "embeds by torch float32"
    kept = runtime_json(tmp_path / "index")
    assert (kept["runtime"], [check["passed"] for check in kept["checks"]]) == (
        "torch", [False, True]
    )  # fmt: skip
    assert not (tmp_path / "index" / "embedder" / "model").exists()


def test_what_openvino_cannot_take_gives_way_and_it_is_said(made, tmp_path, monkeypatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise UserError("OpenVINO cannot take this network (a reason)")

    monkeypatch.setattr(openvino_runner, "export", refused)
    said = tuple(runtime_lines(built(made, tmp_path / "index", FLOAT32).runtime_checks))
    assert said == (
        "not by openvino float32: OpenVINO cannot take this network (a reason)",
        "embeds by torch float32",
    )


def test_torch_and_no_choice_at_all_give_the_same_vectors(made: Path, tmp_path: Path) -> None:
    chosen, unchosen = (
        built(made, tmp_path / name / "index", runtime).opened.embeddings
        for name, runtime in (("chosen", TORCH), ("unchosen", None))
    )
    assert chosen.provenance == unchosen.provenance
    assert np.array_equal(chosen.vectors_ND, unchosen.vectors_ND)


def test_an_index_rebuilt_with_its_own_embedder_stays_as_it_was(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "run" / "index", tmp_path / "index")
    own = str(tmp_path / "index" / "embedder")
    again = build_index(made / "data", own, tmp_path / "index", runtime=None).opened.embeddings
    before = load_index(made / "run" / "index").embeddings
    assert again.provenance == before.provenance
    assert np.array_equal(again.vectors_ND, before.vectors_ND)
    assert runtime_json(tmp_path / "index") == runtime_json(made / "run" / "index")


def test_an_index_is_refused_where_its_runtime_is_not(made: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(openvino_runner, "installed", lambda package="openvino": False)
    with pytest.raises(UserError, match=r"openvino is not installed: .*\[fast\]"):
        lookup(["field0_0"], made / "run" / "index", k=1, montage=tmp_path / "m.png")


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # an import of it fails from here on
from pathlib import Path
from atlas.workflows.embed.lookup import lookup
query, index, picture = sys.argv[1:]
found = lookup([query], Path(index), k=3, montage=Path(picture))
print(found.table.to_json())
"""


def test_a_lookup_needs_no_torch(made: Path, tmp_path: Path) -> None:
    """Loading it would take longer than all the rest; answers are those of the whole embedder."""
    index, picture = made / "run" / "index", tmp_path / "lookup.png"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "field0_0", index, picture],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = pd.read_json(StringIO(done.stdout))
    embedder, opened = load_embedder(index / "embedder"), load_index(index)
    queries = opened.embeddings.aligned_to(["field0_0"])
    nearest = open_search(opened).vectors.search(queries, 3)
    assert load_for_queries(index / "embedder").maker == embedder.maker
    assert found["match_id"].tolist() == nearest.reference_ids_NK[0].tolist()
    np.testing.assert_allclose(found["similarity"], nearest.similarity_NK[0], atol=1e-6)
    assert picture.stat().st_size > 0


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_damaged_exported_network_is_reported_in_a_line(made: Path, tmp_path: Path, name: str):
    shutil.copytree(made / "run" / "index", tmp_path / "index")
    damaged = tmp_path / "index" / "embedder" / "model" / name
    damaged.write_bytes(damaged.read_bytes()[:500])
    with pytest.raises(UserError, match=r"was changed or damaged .*build-index$"):
        lookup(["field0_0"], tmp_path / "index", k=1, montage=tmp_path / "m.png")


def naive_recall(embedder, store, ids, identities) -> tuple[float, float]:
    """One query after the other, all cosines."""
    vectors = embed_store(embedder, store, ids, folder=None).vectors_ND

    def nearest(vector, leave_out=None):
        return max(
            (float(vector @ other), name)
            for name, other in zip(ids, vectors, strict=True)
            if name != leave_out
        )[1]

    hits, sources, seed = [], Images(what="fields", source=store), 0
    while len(hits) < COPIES:
        copies = plant_copies(ids, sources, channels=1, count=COPIES - len(hits), seed=seed)
        rows = embed_images(embedder, copies.read(copies.ids))
        hits += [
            nearest(row) == name.split(":")[1] for row, name in zip(rows, copies.ids, strict=True)
        ]
        seed += 1
    pairs = zip(ids, vectors, strict=True)
    same = [identities[nearest(row, leave_out=name)] == identities[name] for name, row in pairs]
    return float(np.mean(hits)), float(np.mean(same))


def test_recall_counts_planted_copies_and_siblings(made, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runtime_choice, "LEAST_COPIES", COPIES)
    manifest = read_manifest(made / "data").labelled
    store = fill_store(manifest, tmp_path / "store", size_px=SIZE_PX)
    embedder = load_embedder(made / "embedder")
    recall = recall_of(embedder, store, manifest, folder=tmp_path / "kept")
    identities = {row.id: row.identity for row in manifest.rows}
    groups = sorted({f"identity {name}" for name in identities.values()}, key=content_hash)
    ids = [i for group in groups for i in identities if f"identity {identities[i]}" == group]
    expected = naive_recall(embedder, store, ids, identities)
    assert (recall.copies, recall.siblings) == pytest.approx(expected)
    assert (recall.copy_count, recall.sibling_count) == (COPIES, 40)
    assert 0.05 < recall.copies < 0.95


@pytest.mark.slow
@pytest.mark.skipif(not openvino_runner.installed("nncf"), reason="nncf is not installed")
@pytest.mark.parametrize("largest_fall", [1.0, -1.0])
def test_8_bits_are_taken_or_given_up_by_what_they_find(
    made: Path, tmp_path: Path, monkeypatch, largest_fall: float
) -> None:
    monkeypatch.setattr(runtime_choice, "LARGEST_FALL", largest_fall)
    options = RuntimeOptions(precision="int8")
    reported = tuple(runtime_lines(built(made, tmp_path / "index", options).runtime_checks))
    kept = runtime_json(tmp_path / "index")
    first = kept["checks"][0]
    assert first["precision"] == "int8"
    assert first["recall"]["copy_count"] == first["recall_float32"]["copy_count"] == 2000
    assert abs(first["recall"]["copies"] - first["recall_float32"]["copies"]) < 0.2
    assert "2000 planted copies" in reported[0]
    if largest_fall < 0:
        assert reported[0].startswith("not by openvino int8")
        assert kept["precision"] != "int8"
        return
    assert reported[0].startswith("embeds by openvino int8")
    index, embedder = (
        load_index(tmp_path / "index"),
        load_embedder(tmp_path / "index" / "embedder"),
    )
    store = fill_store(read_manifest(made / "data"), tmp_path / "images", size_px=SIZE_PX)
    ids = index.embeddings.ids[:2]
    expected = index.embeddings.aligned_to(ids).vectors_ND
    assert np.array_equal(embed_images(embedder, store.read(ids)), expected)
    assert kept["model_hash"] in index.embeddings.provenance["embedder"]
    model = tmp_path / "index" / "embedder" / "model" / "model.bin"
    model.write_bytes(b"another")
    update_contents(model)
    with pytest.raises(UserError, match="not the model it was saved with"):
        load_embedder(tmp_path / "index" / "embedder")


def recall(copies: int, siblings: int) -> Recall:
    return Recall(copies=copies / 2000, copy_count=2000, siblings=siblings / 600, sibling_count=600)


@pytest.mark.parametrize(
    ("found", "passes"),
    [
        ((1353, 249), True),
        ((1343, 249), True),  # 10 of 2,000 are half a point
        ((1342, 249), False),
        ((1353, 246), True),  # 3 of 600 are half a point
        ((1353, 245), False),
        ((1400, 300), True),
        ((1400, 245), False),  # either counts
    ],
)
def test_half_a_point_less_is_the_most(found: tuple[int, int], passes: bool) -> None:
    assert (recall(1353, 249).fall_to(recall(*found)) <= LARGEST_FALL) == passes
