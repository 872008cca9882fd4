from pathlib import Path

import pytest

from atlas.core.errors import UserError
from index.settings import SearchSettings
from index.store_address import parse_address


def test_a_server_has_a_collection_and_a_usual_port():
    found = parse_address("milvus://10.0.0.7:1953/fields_2026")
    assert (found.uri, found.collection, found.folder) == (
        "http://10.0.0.7:1953", "fields_2026", None,
    )  # fmt: skip
    assert parse_address("milvus://vectors.example/fields").uri == "http://vectors.example:19530"


def test_a_path_is_a_folder_and_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = parse_address("runs/vectors.db")
    assert found.folder == Path(found.text) == (tmp_path / "runs" / "vectors.db").resolve()


@pytest.mark.parametrize(
    "text",
    ["vectors", "milvus://host", "milvus://host/2fields", "milvus://user:secret@host/fields",
     "http://host:19530/fields", "milvus://host/fields.db", ""],
)  # fmt: skip
def test_other_texts_are_refused(text):
    with pytest.raises(UserError, match="--store"):
        parse_address(text)
    with pytest.raises(UserError, match="--store"):
        SearchSettings(store=text)


def test_settings_that_would_have_no_effect_are_refused():
    with pytest.raises(UserError, match="--store-kind needs a --store"):
        SearchSettings(store_kind="hnsw")
    with pytest.raises(UserError, match="with --store, omit them"):
        SearchSettings(store="runs/vectors.db", recall=0.9)
