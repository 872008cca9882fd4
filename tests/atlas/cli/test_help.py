"""Every command explains itself without loading what it does not need for that."""

import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from atlas.cli.commands import COMMANDS
from tests.conftest import PROJECT

WAYS = {
    "script": lambda name: [f"scripts/{name}.py"],
    "module": lambda name: ["-m", "atlas.cli", name.replace("_", "-")],
}
SCRIPTS = [name for name in COMMANDS if name != "completion"]
# Each takes a second or more to import.
HEAVY = {
    "torch", "torchvision", "lightning", "timm", "albumentations", "faiss", "sklearn",
    "openvino", "nncf", "onnxruntime", "pandas",
}  # fmt: skip


def called(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=PROJECT, capture_output=True, text=True, check=False
    )


def test_every_command_but_completion_has_a_script() -> None:
    scripts = {path.stem for path in (PROJECT / "scripts").glob("*.py")}
    assert scripts == set(COMMANDS) - {"completion"}  # which completes the command `atlas` alone


def imported_by(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the packages that a call with `-X importtime` imported."""
    return set(re.findall(r"^import time:.*\|\s+(\w+)", done.stderr, flags=re.MULTILINE))


@pytest.mark.parametrize("command", SCRIPTS)
def test_help_loads_nothing_heavy_and_is_the_same_by_either_way(command: str) -> None:
    texts = {}
    for name, way in WAYS.items():
        done = called("-X", "importtime", *way(command), "--help")
        assert done.returncode == 0, done.stderr[-2000:]
        assert {"tyro", "atlas"} <= imported_by(done)
        assert not imported_by(done) & HEAVY
        texts[name] = done.stdout.split("\n\n", maxsplit=1)
    usage = {name: text[0].split() for name, text in texts.items()}
    assert usage["script"][:3] == ["usage:", "python", f"scripts/{command}.py"]
    assert usage["module"][:3] == ["usage:", "atlas", command.replace("_", "-")]
    assert usage["script"][3:] == usage["module"][3:]
    assert texts["script"][1] == texts["module"][1]


@pytest.mark.parametrize("words", [[], ["--help"], ["--version"]])
def test_the_list_of_commands_loads_no_library(words: list[str]) -> None:
    done = called("-X", "importtime", "-m", "atlas.cli", *words)
    assert done.returncode == 0
    assert not imported_by(done) & {"numpy", "tyro", "rich", *HEAVY}


def test_the_version_is_that_of_the_installation() -> None:
    assert called("-m", "atlas.cli", "--version").stdout == f"atlas {version('atlas-retrieval')}\n"


@pytest.mark.parametrize("command", SCRIPTS)
def test_an_unknown_option_is_a_line_and_not_a_traceback(command: str) -> None:
    # Words that have to be given are missed before an unknown option is.
    needed = {"find": ["x", "y"], "export": ["coco"], "import_verdicts": ["x.csv"]}
    done = called(f"scripts/{command}.py", *needed.get(command, []), "--no-such-option", "x")
    assert done.returncode != 0
    assert "no-such-option" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_command_all_are_listed_with_a_line_each() -> None:
    done = called("-m", "atlas.cli")
    assert done.returncode == 0
    lines = {
        line.split()[0]: line.split(maxsplit=1)[1:] for line in done.stdout.splitlines() if line
    }
    for command in COMMANDS:
        (summary,) = lines[command.replace("_", "-")]
        assert summary.endswith(".")


@pytest.mark.parametrize("word", ["build-indx", "build_indx"])
def test_a_command_that_does_not_exist_is_a_line_with_the_nearest_one(word: str) -> None:
    done = called("-m", "atlas.cli", word)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"error: there is no command {word}; did you mean build-index?",
        "atlas --help lists all commands",
    ]


def test_a_word_that_is_like_no_command_suggests_none() -> None:
    done = called("-m", "atlas.cli", "qqq")
    assert done.stderr.startswith("error: there is no command qqq\n")


def test_a_command_may_be_written_with_hyphens_or_underscores() -> None:
    ways = [called("-m", "atlas.cli", word, "--help") for word in ("build-index", "build_index")]
    assert ways[0].returncode == 0
    assert ways[0].stdout == ways[1].stdout


def test_a_recipe_shows_its_values() -> None:
    text = called("scripts/train_classifier.py", "gapnet", "--help").stdout
    text = re.sub(r"[│\s]+", " ", text)
    assert "(default: '4 weighted_bce + soft_f1')" in text
    assert "(default: resnet18)" in text
