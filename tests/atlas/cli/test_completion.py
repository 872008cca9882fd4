"""The script for bash completes what stands on a command line."""

import subprocess
from pathlib import Path

import pytest

from atlas.cli.commands import COMMANDS, main

COMPLETED = """
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_atlas
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "atlas.bash"
    with pytest.MonkeyPatch.context() as patch, path.open("w") as file:
        patch.setattr("sys.stdout", file)
        main(["completion", "bash"])
    return path


def completed(script: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of the words."""
    called = ["bash", "-c", f"source {script}{COMPLETED}", "bash", *words]
    done = subprocess.run(called, cwd=script.parent, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_every_command_is_completed(script: Path) -> None:
    offered = completed(script, "atlas", "")
    assert {name.replace("_", "-") for name in COMMANDS} <= set(offered)
    assert completed(script, "atlas", "bui") == ["build-index"]


def test_options_and_their_choices_are_completed(script: Path) -> None:
    assert completed(script, "atlas", "build-index", "--em") == ["--embedder"]
    chosen = completed(script, "atlas", "train-embedder", "card", "--loss", "arc")
    assert chosen == ["arcface"]


@pytest.mark.parametrize("command", ["train_embedder", "train_classifier", "find_leaks"])
def test_nothing_is_offered_that_is_no_option(script: Path, command: str) -> None:
    offered = completed(script, "atlas", command.replace("_", "-"), "")
    assert "--help" in offered
    assert all(word.startswith("-") and " " not in word for word in offered)


def test_a_path_is_completed_after_an_option_and_left_to_bash_elsewhere(script: Path) -> None:
    assert completed(script, "atlas", "build-index", "--data", "atl") == ["atlas.bash"]
    assert completed(script, "atlas", "lookup", "atl") == [""]  # printf of no words: one line


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", shell])
    assert "build-index" in capsys.readouterr().out
