"""Every command explains itself without loading what it does not need for that."""

import re
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

NOT_COMMANDS = ("__init__", "console")
COMMANDS = sorted(
    path.stem for path in (PROJECT / "scripts").glob("*.py") if path.stem not in NOT_COMMANDS
)
# Each takes a second or more to import.
HEAVY = {
    "torch", "torchvision", "lightning", "timm", "albumentations", "faiss", "sklearn",
    "openvino", "nncf", "onnxruntime",
}  # fmt: skip


def test_there_are_commands() -> None:
    assert {"build_index", "find_leaks", "lookup", "make_submission"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", f"scripts/{command}.py", "--help"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "usage" in done.stdout.lower()
    imported = set(re.findall(r"^import time:.*\|\s+(\w+)", done.stderr, flags=re.MULTILINE))
    assert {"tyro", "atlas"} <= imported
    assert not imported & HEAVY


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_a_line_and_not_a_traceback(command: str) -> None:
    done = subprocess.run(
        [sys.executable, f"scripts/{command}.py", "--no-such-option", "x"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "no-such-option" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
