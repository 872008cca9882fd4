"""Verdicts that are exported, written by hand, or given in Label Studio, and imported."""

import json
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.core.errors import DataError, UserError
from atlas.dataset.chosen_images import ChosenImage, chosen_images
from atlas.dataset.image_keys import keys_in
from atlas.dataset.manifest import read_labels
from atlas.dataset.verdicts import (
    VERDICTS_NAME,
    Choice,
    Correction,
    Verdict,
    Verdicts,
    add_verdicts,
    read_verdicts,
)
from atlas.workflows.export.exporting import export
from atlas.workflows.export.importing import CHOICES, VERDICTS, import_verdicts
from atlas.workflows.export.verdict_table import read_verdict_table, save_verdict_table
from tests.atlas.workflows.export.made import correct, give, made_run

HEADER = "query_id,match_id,verdict\n"


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    return made_run(tmp_path)


def written(made: tuple[Path, Path], text: str, name: str = "v.csv") -> Path:
    path = made[1] / name
    path.write_text(text)
    return path


def said(run: Path) -> Verdicts:
    return read_verdicts(run / VERDICTS_NAME)


def test_a_verdict_is_about_the_images_as_they_are_now(made):
    data, run = made
    file = written(made, f"{HEADER}t0,a,same\nt1,b,different\n")
    done = import_verdicts(file, data, run, reviewer="Ann")
    assert (done.added, done.known, done.replaced) == (2, 0, 0)
    keys = keys_in(data, run / "store")
    first, second = said(run).verdicts
    assert (first.query_key, first.match_key) == (keys["t0"], keys["a"])
    assert (second.query_id, second.match_id, second.verdict) == ("t1", "b", "different")
    assert {one.reviewer for one in (first, second)} == {"Ann"}
    assert said(run).judged(keys).of("a", "t0") == "same"


def test_a_file_that_is_imported_twice_adds_nothing_the_second_time(made):
    data, run = made
    file = written(made, f"{HEADER}t0,a,same\nt0,a,different\nt0,a,same\n")
    assert import_verdicts(file, data, run).added == 3
    assert said(run).judged(keys_in(data, run / "store")).of("t0", "a") == "same"
    again = import_verdicts(file, data, run)
    assert (again.added, again.known, again.replaced) == (0, 3, 1)
    longer = written(made, f"{file.read_text()}t1,b,sibling\n", "longer.csv")
    assert import_verdicts(longer, data, run).added == 1


def test_rows_that_no_longer_count_are_reported_until_they_are_given_again(made):
    data, run = made
    file = written(made, f"{HEADER}t0,a,same\n")
    import_verdicts(file, data, run, reviewer="Ann")
    give(data, run, ("a", "t0", "withdrawn", "Ann"), ("a", "t0", "different", "Bob"))
    done = import_verdicts(file, data, run, reviewer="Ann")
    assert (done.added, done.replaced) == (0, 1)
    assert "fill in the column time" in done.summary
    later = written(made, "query_id,match_id,verdict,time\nt0,a,same,2090-11-28 15:00\n")
    assert import_verdicts(later, data, run, reviewer="Ann").added == 1
    assert said(run).verdicts[-1].time == "2090-11-28T15:00:00.000+00:00"


def test_an_old_table_does_not_replace_what_its_reviewer_said_since(made):
    data, run = made
    give(data, run, ("t0", "a", "same", "Ann"))
    columns = "query_id,match_id,verdict,time,reviewer\n"
    old = written(made, f"{columns}t0,a,different,2020-01-01,Ann\nt1,b,sibling,2020-01-01,Ann\n")
    done = import_verdicts(old, data, run)
    assert (done.added, done.replaced) == (2, 1)
    judged = said(run).judged(keys_in(data, run / "store"))
    assert dict(judged.pairs) == {("a", "t0"): "same", ("b", "t1"): "sibling"}
    # Another reviewer who said so in 2020 disagrees with Ann all the same.
    import_verdicts(written(made, f"{columns}t0,a,different,2020-01-01,Bob\n"), data, run)
    assert said(run).judged(keys_in(data, run / "store")).of("t0", "a") == "unsure"


def test_copies_that_stay_are_imported_and_exported(made, tmp_path):
    data, run = made
    file = written(made, "id,choice,reviewer\na,kept,Ann\nb,kept,Ann\nb,withdrawn,Ann\n")
    assert import_verdicts(file, data, run).added == 3
    keys = keys_in(data, run / "store")
    groups = {"a": "a", "b": "b", "c": "b"}
    assert chosen_images(said(run), groups, keys) == {
        "a": ChosenImage(image_id="a", reviewers=("Ann",))
    }
    table = Path(export("csv", data, run, tmp_path / "csv")) / "verdicts.csv"
    assert import_verdicts(table, data, run).known == 3
    (tmp_path / "other").mkdir()
    import_verdicts(table, data, tmp_path / "other")
    assert said(tmp_path / "other") == said(run)


def test_every_problem_is_reported_with_its_line_and_nothing_is_added(made):
    data, run = made
    give(data, run, ("t0", "a", "same", "Ann"))
    before = said(run)
    token = before.verdicts[0].token
    file = written(
        made,
        "query_id,match_id,verdict,id,labels,time,token\n"
        "t0,a,same,,,,\n"
        "t0,a,equal,,,,\n"
        "nobody,a,same,,,yesterday,\n"
        "a,a,same,,,,\n"
        ",a,same,,,,\n"
        "t0,a,same,c,1,,\n"
        ",,,,,,x\n"
        ",,,c,9 x,,\n"
        ",,,c,9,,\n"
        ",,,c,,,\n"
        f"t0,a,different,,,,{token}\n"
        "t1,b,same,,,,one\n"
        "t1,c,same,,,,one\n",
    )
    with pytest.raises(DataError) as error:
        import_verdicts(file, data, run)
    assert error.value.problems == (
        "v.csv, line 3: verdict 'equal' must be same, sibling, different, unsure or withdrawn",
        f"v.csv, line 4: query_id 'nobody' is not an image of {data}",
        "v.csv, line 4: time 'yesterday' must be a time such as 2026-11-28T12:00:00+00:00",
        "v.csv, line 5: query_id and match_id are the same image",
        "v.csv, line 6: query_id is empty",
        "v.csv, line 7: a verdict on a pair, and labels or a choice; write them as two rows",
        "v.csv, line 8: no images; fill in query_id, match_id and verdict, id and labels, or id "
        "and choice",
        "v.csv, line 9: labels '9 x' must be numbers separated by spaces",
        "v.csv, line 10: label 9 is out of range 0\N{EN DASH}2",
        "v.csv, line 11: labels has no label",
        f"v.csv, line 12: token '{token}' belongs to another row of verdicts.db, and rows are "
        "never changed; to add this one, leave its token empty",
        "v.csv, line 14: token 'one' is already in v.csv, line 13",
    )
    assert said(run) == before


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a,perhaps,", "choice 'perhaps' must be kept or withdrawn"),
        ("a,kept,1", "labels and a choice; write them as two rows"),
        ("z,kept,", "id 'z' is not an image of"),
        (",kept,", "id is empty"),
    ],
)
def test_choices_that_make_no_sense_are_refused(made, row, problem):
    with pytest.raises(DataError, match=problem):
        import_verdicts(written(made, f"id,choice,labels\n{row}\n"), *made)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("v.csv", "query,match\nt0,a\n", "line 1: the columns must be query_id, match_id, verdict"),
        ("v.csv", "Query_Id,match_id,verdict\n", "column Query_Id must be written query_id"),
        ("v.json", "{}", "v.json is not what Label Studio exports"),
        ("v.json", '[{"id": 1, "data": {}}]', "v.json is not what Label Studio exports"),
        ("v.json", "[" * 100_000, "v.json is not what Label Studio exports"),
    ],
)
def test_a_file_of_another_kind_is_refused(made, name, text, problem):
    with pytest.raises(DataError, match=problem):
        import_verdicts(written(made, text, name), *made)
    assert not (made[1] / VERDICTS_NAME).exists()


def test_a_missing_file_and_a_missing_run_are_named(made, tmp_path):
    data, run = made
    with pytest.raises(DataError, match=r"none\.csv is missing"):
        import_verdicts(tmp_path / "none.csv", data, run)
    with pytest.raises(DataError, match=r"none\.json is missing"):
        import_verdicts(tmp_path / "none.json", data, run)
    with pytest.raises(UserError, match="give --run the folder of a run"):
        import_verdicts(written(made, HEADER), data, tmp_path / "runz")


def test_corrections_are_imported_and_withdrawn(made):
    data, run = made
    file = written(made, "id;labels;reviewer\nt2;2 0 2;Ann\nc;1;Ann\nc;withdrawn;Ann\n")
    assert import_verdicts(file, data, run).added == 3
    assert [one.labels for one in said(run).corrections] == [(2, 0), (1,), None]
    assert said(run).judged(keys_in(data, run / "store")).labels == {"t2": (2, 0)}


def test_corrected_labels_are_read_by_every_command(made):
    data, run = made
    before = read_labels(data)
    import_verdicts(written(made, "id,labels\na,1\nt2,2\n"), data, run)
    assert read_labels(data) == {**before, "a": (1,)}  # t2 is a test image, which has no labels
    import_verdicts(written(made, "id,labels,time\na,withdrawn,2030-01-01\n"), data, run)
    assert read_labels(data) == before


def test_an_image_that_is_gone_is_named_by_its_key(made):
    data, run = made
    text = "query_id,match_id,verdict,query_key\ngone,a,same,0123\n"
    assert import_verdicts(written(made, text), data, run).added == 1
    assert said(run).judged(keys_in(data, run / "store")).stale == 1


def test_exported_rows_are_those_of_another_run(made, tmp_path):
    data, run = made
    give(data, run, ("t0", "a", "same", "Ann"), ("t0", "a", "withdrawn", "Ann"),
         ("t1", "c", "unsure", '=HYPERLINK("x")'))  # fmt: skip
    correct(data, run, "c", (2, 1))
    correct(data, run, "c", None)
    table = Path(export("csv", data, run, tmp_path / "csv")) / "verdicts.csv"
    assert "'=HYPERLINK" in table.read_text()  # which no spreadsheet runs
    (tmp_path / "other").mkdir()
    assert import_verdicts(table, data, tmp_path / "other").added == 5
    assert said(tmp_path / "other") == said(run)
    again = import_verdicts(table, data, tmp_path / "other")
    assert (again.added, again.known, again.replaced) == (0, 5, 2)


@pytest.fixture(scope="module")
def atlas_of_trips(tmp_path_factory) -> Path:
    return made_run(tmp_path_factory.mktemp("trips"))[0].parent


# Cells are read without white space around them, and ids and names have no control characters.
NAMES = st.text(
    st.characters(
        exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs"), include_characters="'=+\",;\n "
    ),
    min_size=1,
    max_size=8,
).filter(lambda text: text == text.strip())
KEYS = st.text(string.hexdigits.lower(), min_size=4, max_size=4)
TIMES = st.datetimes().map(lambda time: f"{time.isoformat(timespec='milliseconds')}+00:00")


@given(
    pairs=st.lists(
        st.builds(
            Verdict, token=st.uuids().map(str), time=TIMES, reviewer=NAMES | st.just(""),
            query_id=NAMES, match_id=NAMES, query_key=KEYS, match_key=KEYS,
            verdict=st.sampled_from(VERDICTS),
        ).filter(lambda one: one.query_id != one.match_id),
        unique_by=lambda one: one.token, max_size=5,
    ),
    images=st.lists(
        st.builds(
            Correction, token=st.uuids().map(str), time=TIMES, reviewer=NAMES, id=NAMES, key=KEYS,
            labels=st.none() | st.sampled_from([(0,), (2, 1), (0, 1, 2)]),
        ),
        unique_by=lambda one: one.token, max_size=5,
    ),
    kept=st.lists(
        st.builds(
            Choice, token=st.uuids().map(str), time=TIMES, reviewer=NAMES, id=NAMES, key=KEYS,
            choice=st.sampled_from(CHOICES),
        ),
        unique_by=lambda one: one.token, max_size=3,
    ),
)  # fmt: skip
@settings(max_examples=40)
def test_a_round_trip_gives_equal_rows(pairs, images, kept, atlas_of_trips):
    folder = Path(tempfile.mkdtemp(dir=atlas_of_trips))
    data, run = atlas_of_trips / "data", folder
    before = Verdicts(verdicts=tuple(pairs), corrections=tuple(images), choices=tuple(kept))
    save_verdict_table(folder / "verdicts.csv", before)
    import_verdicts(folder / "verdicts.csv", data, run)
    assert said(run) == before
    problems: list[str] = []
    rows = list(read_verdict_table(folder / "verdicts.csv", problems))
    assert len(rows) == len(pairs + images + kept)
    assert problems == []


def label_studio(made: tuple[Path, Path], out: Path) -> list[dict]:
    """Return the tasks of an export as Label Studio exports them after nobody did anything."""
    tasks = json.loads((Path(export("label-studio", *made, out)) / "tasks.json").read_text())
    for n, task in enumerate(tasks, start=1):
        task["id"] = n
        for annotation in task["annotations"]:
            annotation |= {"completed_by": 7, "updated_at": "2026-11-28T12:00:00.123456Z"}
    return tasks


def chosen(verdict: str, **changes: object) -> dict:
    region = {
        "id": "Xy3", "from_name": "verdict", "to_name": "query", "type": "choices",
        "value": {"choices": [verdict]},
    }  # fmt: skip
    return {
        "completed_by": {"id": 1, "email": "ann@lab.org"},
        "updated_at": "2026-11-28T14:00:00+02:00",
        "was_cancelled": False, "result": [region], **changes,
    }  # fmt: skip


def test_what_label_studio_exports_is_imported_once(made, tmp_path):
    data, run = made
    give(data, run, ("a", "t0", "same", "Bob"))
    tasks = label_studio(made, tmp_path / "ls")
    tasks[1]["annotations"] = [chosen("sibling"), chosen("same", was_cancelled=True)]
    file = written(made, json.dumps(tasks), "export.json")
    done = import_verdicts(file, data, run)
    assert (done.added, done.known) == (1, 1)
    new = said(run).verdicts[-1]
    assert (new.query_id, new.match_id, new.verdict) == ("t1", "b", "sibling")
    assert (new.reviewer, new.time) == ("ann@lab.org", "2026-11-28T12:00:00.000+00:00")
    assert import_verdicts(file, data, run).added == 0


def test_a_verdict_that_was_changed_in_label_studio_is_a_new_one(made, tmp_path):
    data, run = made
    give(data, run, ("t0", "a", "same", "Bob"))
    tasks = label_studio(made, tmp_path / "ls")
    tasks[0]["annotations"][0]["result"][0]["value"]["choices"] = ["different"]
    file = written(made, json.dumps(tasks), "export.json")
    assert import_verdicts(file, data, run).added == 1
    assert [one.verdict for one in said(run).verdicts] == ["same", "different"]
    assert said(run).verdicts[-1].reviewer == "user 7"


def test_problems_of_label_studio_name_the_task(made, tmp_path):
    tasks = label_studio(made, tmp_path / "ls")
    tasks[1]["annotations"] = [chosen("Airplane")]
    file = written(made, json.dumps(tasks), "export.json")
    with pytest.raises(DataError, match=r"export\.json, task 2: verdict 'Airplane' must be same"):
        import_verdicts(file, *made)


def test_rows_of_another_process_are_not_lost(made):
    """The file of verdicts is shared with a review that goes on."""
    data, run = made
    give(data, run, ("t0", "a", "same", "Ann"))
    import_verdicts(written(made, f"{HEADER}t0,b,different\n"), data, run)
    add_verdicts(run / VERDICTS_NAME, said(run).verdicts)
    assert len(said(run).verdicts) == 2
