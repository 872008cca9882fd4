"""Progress on stderr: lines in a log, bars on a terminal, and nothing on stdout."""

import io
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from atlas.core import progress as module
from atlas.core.progress import Progress, duration, progress, say, tracked


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show every step, and treat every stage as a long one."""
    for name in ("SHOWN_AFTER_S", "LINE_EVERY_S", "LONG_STAGE_S"):
        monkeypatch.setattr(module, name, 0.0)


@pytest.mark.usefixtures("at_once")
def test_a_log_gets_whole_lines_and_stdout_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("decoding", total=31_072) as shown:
        shown.update(1_200)
        shown.update(29_872)
    said = capsys.readouterr()
    first, last = said.err.splitlines()
    assert first.startswith("decoding: 1,200 of 31,072 images, ")
    assert first.endswith(" left")
    assert last.startswith("decoding: 31,072 of 31,072 images, ")
    assert "took" in last
    assert "\r" not in said.err
    assert said.out == ""


def test_a_short_stage_is_not_mentioned(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tracked(["a", "b"], "linking")) == ["a", "b"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("at_once")
def test_a_stage_that_fails_has_no_line_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), progress("decoding", total=2):
        raise KeyError
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("at_once")
def test_progress_can_be_switched_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with progress("decoding", total=2) as shown:
        shown.update(2)
        shown.note("epoch 1 of 1")
    assert capsys.readouterr().err == ""


def test_no_update_of_any_thread_is_lost() -> None:
    with progress("decoding", total=8_000) as shown, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [shown.update() for _ in range(1_000)], range(8)))
    assert shown.done == 8_000


def test_skipped_items_do_not_count_towards_the_rate() -> None:
    shown = Progress("decoding", total=10, unit="images")
    shown.skip(4)
    assert shown.text() == "4 of 10 images"
    shown.update()
    assert shown.text().startswith("5 of 10 images, ")


@pytest.mark.usefixtures("at_once")
def test_a_terminal_gets_a_bar_for_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("decoding", total=2_000) as one, progress("embedding", total=20) as other:
        one.update(2_000)
        other.update(20)
        say("2 images are damaged")
    said = terminal.getvalue()
    assert "decoding: 100%" in said
    assert "2,000 of 2,000 images" in said
    assert "20 of 20 images" in said
    assert "2 images are damaged" in said.replace("\x1b[A", "\r").replace("\n", "\r").split("\r")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.5, "0.5 s"), (12, "12 s"), (540, "9 min"), (7_500, "2 h 5 min")],
)
def test_durations_are_easy_to_read(seconds: float, said: str) -> None:
    assert duration(seconds) == said
