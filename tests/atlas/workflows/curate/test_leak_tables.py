"""The audit of leak tables from files to files, and on the real ones of 2018-19."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pandas as pd
import pytest

from atlas.core.errors import DataError, UserError
from atlas.workflows.curate.leak_tables import AuditedTables, audit_leak_tables
from index.audit.trust import distrusted
from index.settings import LeakColumns

IDS = [f"t{n:02d}" for n in range(60)]
COLUMNS = LeakColumns(
    id_column=("Id", "test"),
    label_column=("Target", "labels of site", "labels"),
    match_column=("candidate", "match_id"),
    distance_column=("diff",),
)
FILES = {"agreement.csv", "conflicts.csv", "merged.csv", "agreement.png", "audit.json"}


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, ...]:
    """Two that err now and then, one that is mostly wrong and names the matches."""
    written = {
        "good": [f"{i},{0 if n % 20 else 1}" for n, i in enumerate(IDS)],
        "fair": [f"{i},{2 if n % 15 == 1 else 0}" for n, i in enumerate(IDS)],
    }
    for name, lines in written.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(["Id,Target", *lines]) + "\n")
    lines = [f"{i},7_{1 + n}_A1_1,{n}.0,{0 if n % 3 == 0 else '1 2'}" for n, i in enumerate(IDS)]
    header = "test,candidate,diff,labels of site"
    (tmp_path / "bad.csv").write_text("\n".join([header, *lines]) + "\n")
    return tuple(tmp_path / f"{name}.csv" for name in ("good", "fair", "bad"))


def test_files_say_what_the_audit_found(tables: tuple[Path, ...], tmp_path: Path) -> None:
    out = tmp_path / "runs" / "leak_audit"
    audited = audit_leak_tables(tables, out, columns=COLUMNS)
    assert {path.name for path in out.iterdir()} == FILES | {"contents.json"}
    about = json.loads((out / "audit.json").read_text())
    assert about["distrusted"] == ["bad"]
    assert about["columns"]["bad"]["id"] == "test"
    assert about["voices"] == {"good": 0, "fair": 1, "bad": 2}
    assert about["trust"]["bad"]["equal"] < about["trust"]["bad"]["of"] / 2
    assert about["labels_beside_those_of_the_matches"] == []
    assert about["cautions"] == []
    trust = audited.trust.set_index("table")
    assert trust["distrusted"].to_dict() == {"good": "no", "fair": "no", "bad": "yes"}
    assert trust.loc["bad", "high"] < trust.loc["fair", "low"]
    assert (audited.differences["table"] == "bad").all()
    added = audited.differences.set_index("name")["added"]
    assert added["Nuclear membrane"] > 30
    assert len(about["differences"]) == len(added)
    merged = pd.read_csv(out / "merged.csv", dtype=str, keep_default_na=False).set_index("Id")
    assert len(merged) == 60
    assert tuple(merged.loc["t02", ["labels", "tables", "disagree"]]) == ("0", "good fair", "bad")
    assert tuple(merged.loc["t02", ["match_id", "distances"]]) == ("7_3_A1_1", "bad: diff 2.0")
    assert len(pd.read_csv(out / "agreement.csv")) == 3
    assert cv2.imread(str(out / "agreement.png")) is not None


def test_equal_work_gives_equal_bytes(tables: tuple[Path, ...], tmp_path: Path) -> None:
    for name in ("one", "two"):
        audit_leak_tables(tables, tmp_path / "runs" / name, columns=COLUMNS)
    for path in (tmp_path / "runs" / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "runs" / "two" / path.name).read_bytes()


def test_a_labelled_table_says_what_the_matches_are_worth(
    tables: tuple[Path, ...], tmp_path: Path
) -> None:
    known = [f"99_{1 + n}_A1_1,{'2 1' if n % 2 else '0'}" for n in range(50)]
    (tmp_path / "labelled.csv").write_text("\n".join(["Id,Target", *known]) + "\n")
    # The leak table has antibody 7 where this one has 99; plate, well and field are one.
    audited = audit_leak_tables(
        tables, tmp_path / "out", columns=COLUMNS, labels=tmp_path / "labelled.csv"
    )
    (row,) = audited.sources.to_dict("records")
    equal = sum((n % 3 == 0) == (n % 2 == 0) for n in range(50))
    assert (row["table"], row["rows"], row["known"], row["equal"]) == ("bad", 60, 50, equal)
    merged = audited.merged.set_index("Id")["match_labels"]
    assert (merged["t00"], merged["t01"], merged["t59"]) == ("0", "1 2", "")


def test_an_atlas_says_which_labels_and_images_there_are(
    tables: tuple[Path, ...], tmp_path: Path, write_atlas: Callable[..., Path]
) -> None:
    data = write_atlas(test=IDS[:40], labels=("zero", "one", "two"))
    audited = audit_leak_tables(tables, tmp_path / "out", data=data, columns=COLUMNS)
    assert set(audited.merged["Id"]) == set(IDS[:40])
    assert audited.summary["non_matches"].tolist() == [20, 20, 20]
    assert audited.columns["distances"].tolist() == ["", "", "diff"]
    few = write_atlas("few", test=IDS, labels=("zero",))
    with pytest.raises(UserError, match=r"good.csv, line 2: label 1 .*0; fix it"):
        audit_leak_tables(tables, tmp_path / "out", data=few, labels=None)


def test_mistakes_are_named_and_nothing_is_written(
    tables: tuple[Path, ...], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"--data .* is not a folder"):
        audit_leak_tables(tables, tmp_path / "out", data=tmp_path / "none")
    with pytest.raises(DataError, match=r"nothing\.csv is missing"):
        audit_leak_tables(
            tables, tmp_path / "out", columns=COLUMNS, labels=tmp_path / "nothing.csv"
        )
    with pytest.raises(UserError, match=r"was not written by audit-leaks"):
        audit_leak_tables(tables, tmp_path, columns=COLUMNS)
    assert not (tmp_path / "out").exists()


def test_what_was_merged_can_be_audited_again(tables: tuple[Path, ...], tmp_path: Path) -> None:
    first = audit_leak_tables(tables, tmp_path / "out", columns=COLUMNS)
    again = audit_leak_tables(
        [tmp_path / "out" / "merged.csv"], tmp_path / "again", columns=COLUMNS
    )
    assert again.merged["Id"].tolist() == first.merged["Id"].tolist()
    assert again.merged["labels"].tolist() == first.merged["labels"].tolist()
    assert again.merged["match_id"].tolist() == first.merged["match_id"].tolist()


def test_with_two_voices_no_table_is_accused(tables: tuple[Path, ...], tmp_path: Path) -> None:
    audited = audit_leak_tables(tables[1:], tmp_path / "out", columns=COLUMNS)
    assert distrusted(audited.panel) == ()
    (caution,) = audited.cautions
    assert caution.startswith("There are only 2 independent tables (voices).")


@pytest.fixture(scope="module")
def of_2018(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> AuditedTables:
    labels = shared / "labels"
    names = ("leak2d", "leak_v4", "pudae_leak", "test_matches")
    return audit_leak_tables(
        [labels / f"{name}.csv" for name in names],
        tmp_path_factory.mktemp("runs") / "leak_audit",
        data=labels,  # holds sample_submission.csv
        labels=labels / "HPAv18RBGY_wodpl.csv",
    )


def pair_of(audited: AuditedTables, one: str, other: str) -> pd.Series:
    pairs = audited.agreement.set_index(["table", "other"])
    return pairs.loc[(one, other)]


@pytest.mark.real
def test_rows_and_ids_of_the_real_tables(of_2018: AuditedTables) -> None:
    summary = of_2018.summary.set_index("table")
    assert summary["rows"].to_dict() == {
        "leak2d": 276, "leak_v4": 301, "pudae_leak": 385, "test_matches": 259,
    }  # fmt: skip
    assert summary["ids"].tolist() == [276, 299, 258, 257]
    assert summary["ids_with_several_label_sets"].tolist() == [0, 0, 52, 0]
    assert summary["non_matches"].tolist() == [0, 0, 0, 0]
    assert len(of_2018.merged) == 304
    assert of_2018.merged["Id"].is_unique


@pytest.mark.real
def test_agreement_of_the_real_tables(of_2018: AuditedTables) -> None:
    twins = pair_of(of_2018, "leak2d", "test_matches")
    assert (twins["shared"], twins["equal"]) == (257, 257)
    odd = pair_of(of_2018, "leak_v4", "test_matches")
    # As sets; in the order written it would be 80. The matches are the same throughout.
    assert (odd["shared"], odd["equal"], odd["written_alike"]) == (257, 106, 80)
    assert (odd["both_matched"], odd["same_match"]) == (257, 257)
    assert odd[["more", "fewer", "overlapping", "disjoint"]].tolist() == [53, 49, 33, 16]
    copied = pair_of(of_2018, "pudae_leak", "test_matches")
    assert (copied["equal"], copied["held"], copied["written_alike"]) == (205, 257, 257)


@pytest.mark.real
def test_the_verdict_on_the_real_tables(of_2018: AuditedTables) -> None:
    trust = of_2018.panel.trust
    assert distrusted(of_2018.panel) == ("leak_v4",)
    assert (trust["leak_v4"].equal, trust["leak_v4"].of) == (112, 271)
    assert (trust["pudae_leak"].equal, trust["pudae_leak"].of) == (206, 206)
    assert of_2018.panel.voices["leak2d"] == of_2018.panel.voices["test_matches"]
    (caution,) = of_2018.cautions
    assert caution.startswith("The 3 voices seem to come from only 2 sources.")
    sources = of_2018.sources.set_index("table")
    assert sources.loc["test_matches", ["known", "equal"]].tolist() == [259, 259]
    assert sources.loc["leak_v4", ["known", "equal"]].tolist() == [281, 115]
    most = of_2018.classes.iloc[0]
    assert (most["label"], most["disputed"]) == (0, 60)
