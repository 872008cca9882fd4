"""Leak tables as people wrote them: what is read, and what is refused in one line."""

from pathlib import Path

import pytest

from atlas.core.errors import UserError
from index.audit.leak_tables import LeakTable, LeakTableReader, field_of
from index.settings import LeakColumns

IMAGE, OTHER = "00070df0-bbc3-11e8-b2bc-ac1f6b6435d0", "000a6c98-bb9b-11e8-b2b9-ac1f6b6435d0"


KNOWN = LeakColumns()


def read(
    tmp_path: Path,
    text: str | bytes,
    *,
    test_ids: tuple[str, ...] = (),
    hpa_ids: bool = True,
    names: LeakColumns = KNOWN,
) -> LeakTable:
    path = tmp_path / "leaks.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    reader = LeakTableReader(label_count=28, test_ids=test_ids, hpa_ids=hpa_ids, names=names)
    return reader.read(path)


def test_a_table_of_ids_and_labels(tmp_path: Path) -> None:
    leaks = read(tmp_path, f"Id,Target,Questionable\n{IMAGE},7 1,0\n{OTHER},0,1\n")
    assert [row.labels for row in leaks.rows] == [(7, 1), (0,)]
    assert leaks.answers == {
        IMAGE: frozenset([frozenset({1, 7})]),
        OTHER: frozenset([frozenset({0})]),
    }
    assert leaks.doubted == {OTHER}


def test_an_unnamed_column_of_ids_beside_a_candidate_and_a_distance(tmp_path: Path) -> None:
    text = f",Candidate,Hash diff,Site Parsed Labels\r\n{IMAGE},800_E1_1,2.0,16 14\r\n"
    leaks = read(tmp_path, text)
    (row,) = leaks.rows
    assert (row.id, row.match, row.field) == (IMAGE, "800_E1_1", "800_E1_1")
    assert row.distances == (("Hash diff", "2.0"),)
    assert row.labels == (16, 14)


def test_distances_that_could_be_labels_are_none(tmp_path: Path) -> None:
    text = (
        "Extra,Test,SimR,SimG,SimB,Target,Target_noisey\n"
        f"ENSG00000001497_44431_556_B9_1,{IMAGE},10,6,2,25 18 0,18 17\n"
    )
    leaks = read(tmp_path, text)
    (row,) = leaks.rows
    assert row.labels == (25, 18, 0)
    assert row.distances == (("SimR", "10"), ("SimG", "6"), ("SimB", "2"))
    assert row.field == "556_B9_1"
    assert leaks.columns.unread == ("Target_noisey",)


def test_the_user_names_the_columns(tmp_path: Path) -> None:
    text = f"kaggle,found,where,classes,sure\n{IMAGE},3.5,44431_556_B9_1,0 25,0\n{OTHER},4,,7,1\n"
    names = LeakColumns(
        id_column=("Id", "kaggle"), label_column=("classes",), match_column=("where",),
        doubt_column=("sure",), distance_column=("found", "none"),
    )  # fmt: skip
    leaks = read(tmp_path, text, names=names)
    columns = leaks.columns
    assert (columns.id, columns.labels, columns.match) == ("kaggle", "classes", "where")
    assert (columns.doubt, columns.distances, columns.unread) == ("sure", ("found",), ())
    assert leaks.doubted == {OTHER}


def test_columns_that_nobody_names_are_not_read_whatever_they_hold(tmp_path: Path) -> None:
    columns = read(tmp_path, f"Id,Target,score,found\n{IMAGE},0,1.5,44431_556_B9_1\n").columns
    assert (columns.match, columns.distances) == (None, ())
    assert columns.unread == ("score", "found")


def test_rows_of_other_images_than_the_atlas_holds_are_left_out(tmp_path: Path) -> None:
    leaks = read(tmp_path, "Id,Target\na,0\nb,1\nc,2\n", test_ids=("a", "c", "d"))
    assert (set(leaks.by_id), leaks.non_matches) == ({"a", "c"}, 1)


@pytest.mark.parametrize("written", ["0 7", " 7;0 ", "[0, 7]", "0|7", "0 7 7"])
def test_labels_are_joined_in_many_ways(tmp_path: Path, written: str) -> None:
    leaks = read(tmp_path, f'Id,Target\n{IMAGE},"{written}"\n')
    assert leaks.answers[IMAGE] == frozenset([frozenset({0, 7})])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_marks_and_blank_lines(tmp_path: Path, separator: str) -> None:
    text = f"\ufeffId,Target\n\n{IMAGE},7 1\n\n".replace(",", separator)
    assert read(tmp_path, text).rows[0].labels == (7, 1)


def test_candidates_that_differ_are_several_answers_and_empty_labels_none(tmp_path: Path) -> None:
    leaks = read(tmp_path, f"Id,Target\n{IMAGE},1 2\n{OTHER},\n{IMAGE},2 1\n{IMAGE},3\n")
    assert len(leaks.by_id[IMAGE]) == 3
    assert leaks.answers == {IMAGE: frozenset([frozenset({1, 2}), frozenset({3})])}
    assert set(leaks.by_id) == {IMAGE, OTHER}


def test_a_row_that_nobody_doubts_silences_one_that_is_doubted(tmp_path: Path) -> None:
    leaks = read(tmp_path, f"Id,Target,Questionable\n{IMAGE},1,yes\n{IMAGE},2,no\n{OTHER},3,1\n")
    assert leaks.answers[IMAGE] == frozenset([frozenset({2})])
    assert leaks.answers[OTHER] == frozenset([frozenset({3})])
    assert leaks.doubted == {OTHER}


def test_a_field_is_one_whatever_stands_around_it() -> None:
    spelled = ("ENSG00000001497_44431_556_B9_1", "44431_556_B9_1", "556_B9_1")
    assert {field_of(match, hpa_ids=True) for match in spelled} == {"556_B9_1"}
    assert {field_of(match, hpa_ids=False) for match in spelled} == set(spelled)
    assert field_of("img7", hpa_ids=True) == "img7"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; it needs a line with the names of columns"),
        ("Id,Target\n", "no rows"),
        ("Id,Target\na,28\n", r"leaks.csv, line 2: label 28 .*27; fix it"),
        ("Id,Target\na,0\nb,x\n", r"line 3: Target 'x'"),
        ("Id,Target\na,0\n,1\n", r"line 3: the column 'Id' is empty"),
        ("Id,Target\na,0,1\n", r"line 2: more cells than columns"),
        ("Id,Target\na\n", r"line 2: 1 cells, but the header names 2 columns"),
        ("Id,Id,Target\na,b,0\n", r"line 1: column Id is given 2 times; keep one"),
        ('Id,Target\na,"0\n', r"line 2: .*; check the quotes"),
        ("Id,Target\n=1+1,0\n", r"line 2: '=1\+1' is a formula"),
        (
            "Id,Name\na,b\n",
            r"called 'Target' or .*; the columns are 'Id', 'Name'; .* with --label-column",
        ),
        (
            "one,Target\na,0\n",
            r"'Id' or 'Test' or ''; the columns are 'one', 'Target'; .* --id-column",
        ),
        ("Id,Target\na,\n", r"column 'Target' is empty; give another --label-column"),
        ("Id,Target,Questionable\na,0,maybe\n", r"doubtful row is 'maybe'; write 1 or 0"),
        (b"Id,Target\na,0\n\xff,1\n", r"line 3: not UTF-8 text"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    with pytest.raises(UserError, match=said) as refused:
        read(tmp_path, text)
    assert "leaks.csv" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_ids_of_another_atlas_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'Id' contains no test image .* --data"):
        read(tmp_path, "Id,Target\na,0\n", test_ids=("z",))


def test_tables_need_paths_and_names_of_their_own(tmp_path: Path) -> None:
    def read_all(*paths: Path) -> None:
        LeakTableReader(label_count=28).read_all(paths)

    with pytest.raises(UserError, match="no table"):
        read_all()
    with pytest.raises(UserError, match="two tables are called leaks"):
        read_all(tmp_path / "a" / "leaks.csv", tmp_path / "b" / "leaks.csv")
    with pytest.raises(UserError, match=r"nothing.csv is missing"):
        read_all(tmp_path / "nothing.csv")


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "counts", "columns"),
    [
        ("leak2d", (276, 276, 0, 4), ("Id", "Target", None)),
        ("leak_v4", (301, 299, 0, 0), ("", "Site Parsed Labels", "Candidate")),
        ("pudae_leak", (385, 258, 52, 0), ("Id", "Target", None)),
        ("test_matches", (259, 257, 0, 0), ("Test", "Target", "Extra")),
    ],
)
def test_the_tables_of_2018(
    shared: Path, name: str, counts: tuple[int, ...], columns: tuple[str | None, ...]
) -> None:
    path = shared / "labels" / f"{name}.csv"
    leaks = LeakTableReader(label_count=28).read(path)
    several = sum(len(answer) > 1 for answer in leaks.answers.values())
    assert (len(leaks.rows), len(leaks.by_id), several, len(leaks.doubted)) == counts
    assert (leaks.columns.id, leaks.columns.labels, leaks.columns.match) == columns
