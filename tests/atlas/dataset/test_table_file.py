"""Tables as spreadsheets, editors and other programs save them."""

import logging
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from atlas.core.errors import DataError, UserError
from atlas.dataset.manifest import Manifest, read_manifest, read_tables
from atlas.dataset.table_file import read_frame
from atlas.workflows.submit.check import check_submission

WriteAtlas = Callable[..., Path]

ROWS = "Id,Target,Identity\na,0,x\nb,1 2,x\nc,2,y\n"


def problems_of(data: Path) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        read_manifest(data)
    return caught.value.problems


@pytest.fixture
def data(write_atlas: WriteAtlas) -> Path:
    return write_atlas(identities={"a": "x", "b": "x", "c": "y"})


def read(data: Path, content: bytes) -> Manifest:
    (data / "train.csv").write_bytes(content)
    return read_manifest(data)


@pytest.mark.parametrize(
    "content",
    [
        ROWS.replace(",", ";").encode(),
        ROWS.replace(",", "\t").encode("utf-16"),  # what Excel calls Unicode text
        ROWS.replace("\n", "\r").encode(),
        ("sep=;\r\n" + ROWS.replace(",", ";").replace("\n", "\r\n")).encode("utf-8-sig"),
        ROWS.replace(",", " , ").encode(),
        ROWS.replace("\n", ",,\n").encode(),  # empty columns behind the last one
        ("\n" + ROWS.replace("\n", "\n,,\n")).encode(),  # empty rows between the others
        b",Id,Target,Identity\n0,a,0,x\n1,b,1 2,x\n2,c,2,y\n",  # the index of a data frame
        b'"Id","Target","Identity"\n"a","0","x"\n"b","1 2","x"\n"c","2","y"\n',
    ],
)
def test_other_ways_to_write_the_same_table_are_read(data: Path, content: bytes) -> None:
    expected = read_manifest(data).table_hash
    assert read(data, content).table_hash == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Id,Target\na\n", "line 2: 1 cells, but the header names 2 columns"),
        (b"Id,Target\n\na,0,1\n", "line 3: more cells than columns"),
        (b"PK\x03\x04rest", "is a spreadsheet and not text; save it as CSV"),
        (b'Id,Target\na,0\n"b,1\nc,2\n', "line 3: unexpected end of data; check the quotes"),
        (b"Id,Target\n=1+1,0\n", "line 2: id '=1+1' is a formula"),
        (b"Id,Target\n@x,0\n", "line 2: id '@x' is a formula"),
        (b"Id,Target\n-2+3|x,0\n", "line 2: id '-2+3|x' is a formula"),
        (b'Id,Target\n"a\nb",0\n', r"line 2: id 'a\nb' cannot be part of a file name"),
        (b"Id,Target\na\x1b[31m,0\n", r"line 2: id 'a\x1b[31m' cannot be part"),
        ("Id,Target\na\u202eb,0\n".encode(), r"line 2: id 'a\u202eb' cannot be part"),
        (b"Id,Target\n" + b"a" * 300 + b",0\n", "(300 characters) is too long"),
        (b"Id,Target,Identity\na,0,=x\n", "line 2: Identity '=x' is a formula"),
        (b"Id,Target,Identity\na,0,x\x07\n", r"line 2: Identity 'x\x07' has a control character"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(data: Path, content: bytes, said: str) -> None:
    (data / "train.csv").write_bytes(content)
    problems = problems_of(data)
    found = [problem for problem in problems if said in problem]
    assert len(found) == 1, problems
    assert found[0].startswith("train.csv")
    assert found[0].isprintable()


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "N/A", "None", "null", "-", " "])
def test_words_for_missing_values_are_no_identity(
    data: Path, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    content = f"Id,Target,Identity,Parent\na,0,{word},{word}\nb,1,{word},\nc,2,y,\n"
    manifest = read(data, content.encode())
    assert [row.identity for row in manifest.rows] == [None, None, "y"]
    assert [row.parent for row in manifest.rows] == [None, None, None]
    assert manifest.repeated_identities == frozenset()
    assert ("2 cells of Identity" in caplog.text) == bool(word.strip())


def test_ids_with_white_space_around_them_are_read_and_counted(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert read(data, b"Id,Target\n a,0\nb ,1\nc,2\n").ids == ("a", "b", "c")
    assert "ignored white space around 2 cells of Id" in caplog.text


def test_zeros_that_a_spreadsheet_removed_are_named(write_atlas: WriteAtlas) -> None:
    data = write_atlas(train={"007": "0", "10": "1"})
    (data / "train.csv").write_text("Id,Target\n7,0\n10,1\n")
    (problem,) = problems_of(data)
    assert problem.startswith("train.csv, line 2: train/7.png is missing")
    assert "there are files of 007: a spreadsheet may have removed the zeros" in problem


@pytest.mark.parametrize(("in_table", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_may_be_composed_or_not(
    write_atlas: WriteAtlas, in_table: str, on_disk: str
) -> None:
    table, disk = (unicodedata.normalize(form, "caf\u00e9") for form in (in_table, on_disk))
    data = write_atlas(train={disk: "0", "b": "1"})
    (data / "train.csv").write_text(f"Id,Target\n{table},0\nb,1\n")
    (data / "groups.csv").write_text(f"Id,Group\n{disk},g\nb,g\n")
    manifest = read_manifest(data)
    assert manifest.ids == (table, "b")
    assert manifest.rows[0].files[0].name == f"{disk}.png"
    assert [row.group for row in manifest.rows] == ["g", "g"]


def test_ids_that_share_a_file_are_refused(write_atlas: WriteAtlas) -> None:
    one, other = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    data = write_atlas(train={one: "0"})
    (data / "train.csv").write_text(f"Id,Target\n{one},0\n{other},1\n")
    (problem,) = problems_of(data)
    assert problem.startswith("train.csv, line 3: ")
    assert "is also a file of" in problem


def test_frames_of_user_tables_keep_all_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfId;Note\r\n007;x,y\r\n")
    assert read_frame(tmp_path / "t.csv", ("Id",)).to_dict("list") == {
        "Id": ["007"],
        "Note": ["x,y"],
    }
    with pytest.raises(DataError, match="no column Target in 'Id', 'Note'"):
        read_frame(tmp_path / "t.csv", ("Id", "Target"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Id;Predicted\na;0\n", "no column Id, Predicted in 'Id;Predicted'"),
        ("Id,Predicted\na,0\n".encode("utf-16"), "UTF-16; save the submission as CSV in UTF-8"),
        (b"Id,Predicted\na\n", "line 2: 1 cells"),
    ],
)
def test_a_submission_must_have_the_format_of_the_challenge(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "submission.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        check_submission(tmp_path / "submission.csv", ["a"], 3)


def test_a_misnamed_atlas_toml_is_named_first(write_atlas: WriteAtlas) -> None:
    data = write_atlas()
    for name in ("Atlas.toml", "atlas.tml", "atlas.toml.txt"):
        (data / "atlas.toml").rename(data / name)
        for reader in (read_manifest, read_tables):
            with pytest.raises(UserError, match=rf"no atlas.toml: .*{name} is not read; rename it"):
                reader(data)
        (data / name).rename(data / "atlas.toml")


def test_a_folder_that_is_not_hpa_is_told_what_it_was_read_as(write_atlas: WriteAtlas) -> None:
    data = write_atlas()
    (data / "atlas.toml").unlink()
    assert problems_of(data)[0].startswith("no atlas.toml: the folder is read as HPA 2018")
