"""Every command explains itself without loading what it does not need for that."""

import re
import subprocess
import sys

import pytest

from atlas.cli.commands import COMMANDS
from tests.conftest import PROJECT

WAYS = {
    "script": lambda name: [f"scripts/{name}.py"],
    "module": lambda name: ["-m", "atlas.cli", name.replace("_", "-")],
}
# Each takes a second or more to import.
HEAVY = {
    "torch", "torchvision", "lightning", "timm", "albumentations", "faiss", "sklearn",
    "openvino", "nncf", "onnxruntime", "pandas",
}  # fmt: skip


def called(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=PROJECT, capture_output=True, text=True, check=False
    )


def test_every_command_has_a_script() -> None:
    assert {path.stem for path in (PROJECT / "scripts").glob("*.py")} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy_and_is_the_same_by_either_way(command: str) -> None:
    texts = []
    for way in WAYS.values():
        done = called("-X", "importtime", *way(command), "--help")
        assert done.returncode == 0, done.stderr[-2000:]
        imported = set(re.findall(r"^import time:.*\|\s+(\w+)", done.stderr, flags=re.MULTILINE))
        assert {"tyro", "atlas"} <= imported
        assert not imported & HEAVY
        texts.append(done.stdout)
    assert f"usage: python scripts/{command}.py" in texts[0]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_a_line_and_not_a_traceback(command: str) -> None:
    done = called(f"scripts/{command}.py", "--no-such-option", "x")
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


def test_a_command_that_does_not_exist_is_a_line() -> None:
    done = called("-m", "atlas.cli", "build-indx")
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no command build-indx\n")


def test_a_recipe_shows_its_values() -> None:
    text = called("scripts/train_classifier.py", "gapnet", "--help").stdout
    text = re.sub(r"[│\s]+", " ", text)
    assert "(default: '4 weighted_bce + soft_f1')" in text
    assert "(default: resnet18)" in text
