"""The file of verdicts: nothing that a person said is lost, counted twice or changed."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.core.errors import UserError
from atlas.dataset.verdicts import (
    Choice,
    Correction,
    Verdict,
    Verdicts,
    add_verdicts,
    now,
    read_verdicts,
    verdicts_beside,
)

KEYS = {"q": "key of q", "a": "key of a", "b": "key of b"}


def verdict(query: str, match: str, said: str, reviewer: str = "Ada", time: str = "") -> Verdict:
    return Verdict(
        query_id=query, match_id=match, query_key=KEYS[query], match_key=KEYS[match],
        verdict=said, reviewer=reviewer, time=time,
    )  # fmt: skip


def test_verdicts_are_read_as_they_were_added(tmp_path: Path) -> None:
    path = verdicts_beside(tmp_path / "leaks")
    assert read_verdicts(path) == Verdicts()
    said = (verdict("q", "a", "same", time=now()), verdict("q", "b", "unsure", time=now()))
    right = Correction(id="a", key=KEYS["a"], labels=(3, 1), reviewer="Ada", time=now())
    kept = Choice(id="b", key=KEYS["b"], reviewer="Ada", time=now())
    assert add_verdicts(path, said, [right], [kept]) == 4
    assert read_verdicts(path) == Verdicts(verdicts=said, corrections=(right,), choices=(kept,))
    assert [file.name for file in tmp_path.iterdir()] == ["verdicts.db"]


def test_a_row_that_is_sent_twice_counts_once(tmp_path: Path) -> None:
    said = verdict("q", "a", "same")
    assert add_verdicts(tmp_path / "v.db", [said, said]) == 1
    assert add_verdicts(tmp_path / "v.db", [said, verdict("q", "b", "different")]) == 1
    assert len(read_verdicts(tmp_path / "v.db").verdicts) == 2


def test_rows_cannot_be_changed_or_removed(tmp_path: Path) -> None:
    add_verdicts(tmp_path / "v.db", [verdict("q", "a", "same")])
    add_verdicts(tmp_path / "v.db", choices=[Choice(id="a", key="k")])
    changes = ("UPDATE verdicts SET verdict = 'different'", "UPDATE choices SET id = 'b'")
    for statement in ("DELETE FROM verdicts", "DELETE FROM choices", *changes):
        file = sqlite3.connect(tmp_path / "v.db")
        with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
            file.execute(statement)
        file.close()
    assert read_verdicts(tmp_path / "v.db").verdicts[0].verdict == "same"


def test_the_last_word_of_each_reviewer_counts_and_disagreement_is_unsure() -> None:
    def stands(*said: Verdict) -> str | None:
        return Verdicts(verdicts=said).judged(KEYS).of("a", "q")

    assert stands(verdict("q", "a", "same"), verdict("q", "a", "different")) == "different"
    assert stands(verdict("q", "a", "same"), verdict("q", "a", "withdrawn")) is None
    one, other = verdict("q", "a", "same"), verdict("a", "q", "different", "Bo")
    assert stands(one, other) == "unsure"
    assert stands(one, other, verdict("q", "a", "withdrawn")) == "different"
    assert stands(one, verdict("q", "a", "same", "Bo")) == "same"


def test_the_latest_time_counts_and_of_equal_times_the_row_that_was_added_last() -> None:
    old, new = "2026-01-01T00:00:00.000+00:00", "2026-01-02T00:00:00.000+00:00"
    said = (verdict("q", "a", "same", time=new), verdict("q", "a", "different", time=old))
    assert Verdicts(verdicts=said).judged(KEYS).of("q", "a") == "same"
    more = (*said, verdict("a", "q", "sibling", time=new))
    assert Verdicts(verdicts=more).judged(KEYS).of("q", "a") == "sibling"
    rows = [Correction(id="a", key="k", labels=la, time=t) for la, t in (((1,), new), ((2,), old))]
    assert Verdicts(corrections=tuple(rows)).judged({"a": "k"}).labels == {"a": (1,)}


def test_rows_that_are_added_together_have_one_time_whoever_gave_them(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.db"
    reviewers = [f"reviewer {n}" for n in range(300)]
    add_verdicts(path, [verdict("q", "a", "same", reviewer=one) for one in reviewers])
    latest = read_verdicts(path).latest_verdicts
    assert [reviewer for _, reviewer in latest] == reviewers  # not in the order of a hash
    assert len({one.time for one in latest.values()}) == 1


def test_a_row_that_is_given_now_counts_although_the_clock_was_ahead_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "v.db"
    add_verdicts(path, [verdict("q", "a", "same", time="2090-01-01T00:00:00.000+00:00")])
    add_verdicts(path, [verdict("q", "a", "different")])
    add_verdicts(path, [verdict("q", "b", "same", "Bo")])
    assert read_verdicts(path).judged(KEYS).of("q", "a") == "different"
    *_, of_ada, of_bo = read_verdicts(path).verdicts
    assert of_ada.time.startswith("2090")
    assert of_bo.time < "2090"


LAYOUT_1 = """
CREATE TABLE verdicts (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, time TEXT NOT NULL,
    reviewer TEXT NOT NULL, query_id TEXT NOT NULL, match_id TEXT NOT NULL,
    query_key TEXT NOT NULL, match_key TEXT NOT NULL, verdict TEXT NOT NULL
        CHECK (verdict IN ('same', 'sibling', 'different', 'unsure', 'withdrawn')));
CREATE TABLE corrections (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, time TEXT NOT NULL,
    reviewer TEXT NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL, labels TEXT);
CREATE TRIGGER verdicts_DELETE BEFORE DELETE ON verdicts
    BEGIN SELECT RAISE(ABORT, 'rows are only ever added'); END;
INSERT INTO verdicts VALUES (1, 't', '2026-11-28T12:00:00.000+00:00', 'Ada', 'q', 'a',
    'key of q', 'key of a', 'same');
INSERT INTO corrections VALUES (1, 'u', '2026-11-28T12:00:00.000+00:00', 'Ada', 'a', 'key of a',
    '[2, 1]');
PRAGMA application_id = 1096043603;
PRAGMA user_version = 1;
"""


def test_a_file_of_the_first_layout_is_read_and_gains_the_table_of_choices(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.db"
    file = sqlite3.connect(path)
    file.executescript(LAYOUT_1)
    file.close()
    before, content = read_verdicts(path), path.read_bytes()
    assert [one.verdict for one in before.verdicts] == ["same"]
    assert (before.corrections[0].labels, before.choices) == ((2, 1), ())
    assert path.read_bytes() == content  # reading changes nothing
    kept = Choice(id="a", key="k", reviewer="Ada")
    for _ in range(2):
        add_verdicts(path, choices=[kept])
    after = read_verdicts(path)
    assert after.verdicts == before.verdicts
    assert after.corrections == before.corrections
    assert [one.token for one in after.choices] == [kept.token]
    with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
        sqlite3.connect(path).execute("DELETE FROM choices")


def test_a_file_of_a_later_layout_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.db"
    add_verdicts(path, [verdict("q", "a", "same")])
    file = sqlite3.connect(path)
    file.execute("PRAGMA user_version = 3")
    file.close()
    content = path.read_bytes()
    for work in (read_verdicts, lambda path: add_verdicts(path, [verdict("q", "b", "same")])):
        with pytest.raises(UserError, match="is not a file of verdicts of this version"):
            work(path)
    assert path.read_bytes() == content


def test_verdicts_follow_what_images_show_and_not_their_names() -> None:
    said = Verdicts(
        verdicts=(verdict("q", "a", "different"),),
        corrections=(Correction(id="a", key=KEYS["a"], labels=(2,)),),
    )
    renamed = said.judged({"new": KEYS["q"], "a1": KEYS["a"], "a2": KEYS["a"]})
    assert dict(renamed.pairs) == {("a1", "new"): "different", ("a2", "new"): "different"}
    assert dict(renamed.labels) == {"a1": (2,), "a2": (2,)}
    assert renamed.stale == 0
    replaced = said.judged({"q": "another picture", "a": KEYS["a"]})
    assert (dict(replaced.pairs), replaced.stale) == ({}, 1)


def test_corrections_are_withdrawn_and_disputed_like_verdicts() -> None:
    def labels(*given: tuple[str, tuple[int, ...] | None]) -> dict[str, tuple[int, ...]]:
        said = tuple(Correction(id="a", key="k", labels=la, reviewer=who) for who, la in given)
        return dict(Verdicts(corrections=said).judged({"a": "k"}).labels)

    assert labels(("Ada", (1,)), ("Ada", (2, 5))) == {"a": (2, 5)}
    assert labels(("Ada", (1,)), ("Ada", None)) == {}
    assert labels(("Ada", (1,)), ("Bo", (2,))) == {}


def test_processes_that_add_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    adds = (
        "import sys; from pathlib import Path; from atlas.dataset.verdicts import *\n"
        "for n in range(20): add_verdicts(Path(sys.argv[1]), [Verdict(query_id=str(n), "
        "match_id='a', query_key=str(n), match_key='k', verdict='same', reviewer=sys.argv[2])])"
    )
    path = tmp_path / "v.db"
    started = [
        subprocess.Popen([sys.executable, "-c", adds, str(path), name]) for name in ("Ada", "Bo")
    ]
    assert [one.wait(120) for one in started] == [0, 0]
    found = read_verdicts(path).verdicts
    assert sorted((v.reviewer, int(v.query_id)) for v in found) == [
        (who, n) for who in ("Ada", "Bo") for n in range(20)
    ]


@pytest.mark.parametrize("content", [b"Id,verdict\n", b"SQLite format 3\0" + bytes(200)])
def test_another_file_is_refused_in_one_line_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "verdicts.db"
    path.write_bytes(content)
    for work in (lambda: read_verdicts(path), lambda: add_verdicts(path, [])):
        with pytest.raises(UserError, match=r"verdicts\.db") as refused:
            work()
        assert "\n" not in str(refused.value)
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "v.db") as file:
        file.execute("CREATE TABLE mine (x)")
    file.close()
    for work in (read_verdicts, lambda path: add_verdicts(path, [verdict("q", "a", "same")])):
        with pytest.raises(UserError, match="is not a file of verdicts"):
            work(tmp_path / "v.db")
