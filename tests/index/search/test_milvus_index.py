"""Searches by Milvus, in a folder of Milvus Lite and on a server, compared with `FlatIndex`."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from atlas.core.errors import MissingStageError, ProvenanceError, UserError
from atlas.dataset.artifacts import EmbeddingSet
from index.search.approximate import recall_of
from index.search.milvus_collection import KINDS, name_of, stored_name
from index.search.milvus_index import CANDIDATES, MilvusIndex
from index.search.stored import Stored, load_stored, open_stored, store_vectors
from index.search.vector_index import FlatIndex, build_index
from index.settings import SearchSettings
from index.store_address import StoreAddress, parse_address

pytest.importorskip("pymilvus", reason="Milvus is not installed: pip install '.[milvus]'")
pytest.importorskip("milvus_lite", reason="Milvus Lite is not installed: pip install '.[milvus]'")

DIMENSION = 24
HOSTILE = ('tom\'s "best" \\ 100%.png', "ü/ß 細胞", "a\nb", "\udcff.tif", "x" * 300, "id in ['a']")


def embeddings(ids, vectors: np.ndarray, embedder: str = "frozen {8} 1/2") -> EmbeddingSet:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return EmbeddingSet(
        ids=tuple(ids), vectors_ND=unit.astype(np.float32), provenance={"embedder": embedder}
    )


def random(count: int, seed: int = 0, first: str = "image") -> EmbeddingSet:
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    return embeddings([f"{first} {n:04d}" for n in range(count)], vectors)


@pytest.fixture
def store(tmp_path) -> StoreAddress:
    return parse_address(str(tmp_path / "vectors.db"))


def made(store: StoreAddress, known: EmbeddingSet, **options) -> MilvusIndex:
    embedder = known.provenance["embedder"]
    return MilvusIndex.make(store, dimension=DIMENSION, embedder=embedder, **options)


def filled(store: StoreAddress, known: EmbeddingSet, **options) -> MilvusIndex:
    index = made(store, known, **options)
    index.synchronise(known, splits={}, identities={})
    return index


def assert_same_answers(index: MilvusIndex, flat: FlatIndex, queries: EmbeddingSet, k: int):
    found, expected = index.search(queries, k), flat.search(queries, k)
    np.testing.assert_array_equal(found.reference_ids_NK, expected.reference_ids_NK)
    np.testing.assert_array_equal(found.similarity_NK, expected.similarity_NK)


def test_answers_are_those_of_the_flat_index_also_among_ties_and_hostile_ids(store):
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((500, DIMENSION))
    vectors[100:300] = vectors[0]  # more than Milvus proposes at first
    vectors[300:320] = vectors[320:340]
    ids = [*HOSTILE, *(f"{n}" for n in rng.permutation(500)[len(HOSTILE) :])]
    known = embeddings(ids, vectors)
    index, flat = filled(store, known), build_index(known)
    assert len(index) == 500
    assert CANDIDATES < 200
    queries = embeddings(
        [*ids[:40], *ids[300:340], "new"],
        np.concatenate([vectors[:40], vectors[300:340], rng.standard_normal((1, DIMENSION))]),
    )
    for k in (1, 10, 600):
        assert_same_answers(index, flat, queries, k)


def test_vectors_are_added_replaced_and_deleted(store):
    known, more = (
        random(30),
        random(40, seed=1).aligned_to([f"image {n:04d}" for n in range(25, 40)]),
    )
    index = made(store, known)
    index.add(known)
    with pytest.raises(UserError, match="already contains image 0025"):
        index.add(more)
    index.upsert(more)
    assert len(index) == 40
    with pytest.raises(UserError, match="does not contain z"):
        index.delete(["image 0001", "z"])
    index.delete([f"image {n:04d}" for n in range(20)])
    assert len(index) == 20
    flat = build_index(known.aligned_to([f"image {n:04d}" for n in range(20, 25)]))
    flat.add(more)
    assert_same_answers(index, flat, random(50, seed=2, first="query"), 20)
    assert_same_answers(MilvusIndex.open(store), flat, random(5, seed=2, first="query"), 20)


def test_a_search_can_be_limited_to_a_split_and_an_identity(store):
    known = random(60)
    splits = {i: "train" if n % 2 else "external" for n, i in enumerate(known.ids)}
    identities = {i: ('it\'s "3"', "", None)[n % 3] for n, i in enumerate(known.ids)}
    index = made(store, known)
    index.add(known, splits=splits, identities=identities)
    queries = random(5, seed=1, first="query")
    wanted = {"split": "train", "identity": 'it\'s "3"'}
    for limits in ({}, {"split": "train"}, {"identity": 'it\'s "3"'}, wanted):
        among = [
            i for i in known.ids
            if {"split": splits[i], "identity": identities[i]} | limits
            == {"split": splits[i], "identity": identities[i]}
        ]  # fmt: skip
        found = index.search(queries, 30, **limits)
        expected = build_index(known.aligned_to(among)).search(queries, 30)
        np.testing.assert_array_equal(found.reference_ids_NK, expected.reference_ids_NK)


def test_synchronising_completes_what_was_stopped_and_removes_the_rest(store):
    before, now = random(50), random(70, seed=1)
    index = made(store, before)
    index.upsert(before)  # a run that was stopped has written other vectors, and some right ones
    index.upsert(now.aligned_to(now.ids[40:60]))
    index.upsert(random(3, first="gone"))
    index.synchronise(now, splits={}, identities={})
    assert len(index) == 70
    assert_same_answers(index, build_index(now), random(9, seed=5, first="query"), 69)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_what_an_approximate_store_finds_has_its_exact_similarity(store, kind):
    from pymilvus import MilvusClient

    known, queries = random(400), random(30, seed=1, first="query")
    filled(store, known)  # an index of another kind is built in its place
    index = filled(store, known, kind=kind)
    assert MilvusIndex.open(store).facts.kind == kind
    described = MilvusClient(store.uri).describe_index(store.collection, "vector")
    assert described["index_type"] == KINDS[kind].name
    assert described["params"] == KINDS[kind].building
    found, expected = index.search(queries, 10), build_index(known).search(queries, 10)
    assert recall_of(found, expected) > 0.9
    products = dict(zip(expected.reference_ids_NK[0], expected.similarity_NK[0], strict=True))
    shared = [i for i in found.reference_ids_NK[0] if i in products]
    places = [list(found.reference_ids_NK[0]).index(i) for i in shared]
    assert [products[i] for i in shared] == found.similarity_NK[0][places].tolist()


def test_vectors_of_another_embedder_are_refused_unless_they_replace_those_of_the_index(store):
    known = random(5)
    index = filled(store, known)
    other = embeddings(known.ids, known.vectors_ND, embedder="other")
    with pytest.raises(ProvenanceError, match=r"embedder other.*same embedder"):
        index.search(other, 1)
    with pytest.raises(ProvenanceError, match=r"embedder frozen \{8\} 1/2.*another --store"):
        made(store, other)
    assert len(made(store, other, replaces="frozen {8} 1/2")) == 0


def test_collections_of_other_programs_are_refused_and_left_alone(store):
    from pymilvus import MilvusClient

    client = MilvusClient(store.uri)
    client.create_collection(store.collection, dimension=4)
    for attempt in (MilvusIndex.open, lambda at: made(at, random(2))):
        with pytest.raises(ProvenanceError, match="another program"):
            attempt(store)
    assert client.has_collection(store.collection)


def written(tmp_path: Path, known: EmbeddingSet, store: StoreAddress) -> Stored:
    folder = tmp_path / "index"
    folder.mkdir(exist_ok=True)
    return store_vectors(
        folder, known, SearchSettings(store=store.text), exact=build_index(known), splits={},
        identities={}, previous=folder,
    )  # fmt: skip


def test_an_index_folder_knows_its_store_and_notices_other_vectors(tmp_path, store):
    known = random(40)
    stored = written(tmp_path, known, store)
    assert stored.recall == 1
    assert load_stored(tmp_path / "index") == stored
    assert_same_answers(
        open_stored(tmp_path / "index", stored),
        build_index(known),
        known.aligned_to(known.ids[:5]),
        3,
    )
    made(store, known).delete([known.ids[0]])
    with pytest.raises(ProvenanceError, match=r"does not hold the vectors.*atlas build-index"):
        open_stored(tmp_path / "index", stored)
    # Built again, also with another embedder, because the store belongs to this index.
    trained = embeddings(known.ids, random(40, seed=1).vectors_ND, embedder="trained")
    open_stored(tmp_path / "index", written(tmp_path, trained, store))


def test_a_missing_store_is_not_created_by_a_search(store):
    with pytest.raises(MissingStageError, match=r"vectors\.db does not exist.*atlas build-index"):
        MilvusIndex.open(store)
    assert not store.folder.exists()
    store.folder.write_text("no folder")
    with pytest.raises(UserError, match="is a file"):
        MilvusIndex.open(store)


def test_a_store_that_was_removed_while_open_is_filled_again(store):
    known = random(10)
    filled(store, known)
    shutil.rmtree(store.folder)
    assert_same_answers(filled(store, known), build_index(known), known, 3)


def test_another_process_gets_one_clear_line(store):
    filled(store, random(3))
    code = (
        "from index.search.milvus_index import MilvusIndex\n"
        "from index.store_address import parse_address\n"
        f"MilvusIndex.open(parse_address({store.text!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is open in another process" in done.stderr.splitlines()[-1]


def test_a_server_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("index.search.milvus_client.CONNECTING_S", 0.5)
    with pytest.raises(UserError, match=r"milvus://127\.0\.0\.1:1/fields does not answer"):
        MilvusIndex.open(parse_address("milvus://127.0.0.1:1/fields"))


@pytest.fixture
def server(tmp_path) -> Iterator[StoreAddress]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "milvus_lite", "server", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path / "server"), "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout
    process.stdout.readline()  # it listens
    yield parse_address(f"milvus://127.0.0.1:{port}/fields")
    process.kill()
    process.communicate()


def test_a_server_answers_as_a_folder_does(server):
    known = random(200)
    with pytest.raises(UserError, match=r"fields does not exist.*atlas build-index"):
        MilvusIndex.open(server)
    index = filled(server, known)
    assert_same_answers(index, build_index(known), known, 12)
    again = MilvusIndex.open(server)
    again.delete([known.ids[0]])
    assert set(index.ids()) == set(known.ids[1:])
    with pytest.raises(ProvenanceError, match="changed by another command while it was searched"):
        index.search(known, 1)


def test_stored_names_are_plain_and_give_the_text_back():
    for text in HOSTILE:
        stored = stored_name(text)
        assert name_of(stored) == text
        assert stored.isascii()
        assert not set(stored) & set("'\"\\\n")
