import os
from pathlib import Path

import pytest

from atlas.core.kept_fresh import KeptFresh


def aged(path: Path, seconds: float) -> None:
    """Set the time of a file to so many seconds ago."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - round(seconds * 1e9)))


def test_a_value_is_made_again_only_when_a_file_has_changed_appeared_or_gone(tmp_path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    made: list[str] = []

    def make() -> str:
        made.append("|".join(path.read_text() if path.exists() else "" for path in (one, other)))
        return made[-1]

    value = KeptFresh(make, [one, other])
    assert [value.get(), value.get()] == ["|", "|"]
    one.write_text("a")
    aged(one, 60)
    assert [value.get(), value.get()] == ["a|", "a|"]
    other.write_text("b")
    aged(other, 60)
    assert [value.get(), value.get()] == ["a|b", "a|b"]
    one.unlink()
    assert value.get() == "|b"
    assert made == ["|", "a|", "a|b", "|b"]


def test_a_second_change_at_the_same_recorded_time_is_seen(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text("a")
    value = KeptFresh(path.read_text, [path])
    assert value.get() == "a"
    status = path.stat()
    path.write_text("b")  # as large as before
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert value.get() == "b"


def test_after_an_error_the_value_is_made_anew(tmp_path) -> None:
    path = tmp_path / "file"
    value = KeptFresh(path.read_text, [path])
    with pytest.raises(FileNotFoundError):
        value.get()
    path.write_text("a")
    assert value.get() == "a"
