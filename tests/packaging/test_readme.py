"""Every block of the README runs as it stands, with the installed wheel and outside the clone."""

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import PROJECT
from tests.packaging.conftest import Installed
from tests.photos import NEW, write_known, write_new

pytestmark = pytest.mark.slow

README = (PROJECT / "README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def followed(installed: Installed) -> tuple[Path, str, str]:
    """The folder in which the README was followed, and what its shell and Python blocks print."""
    folder = installed.elsewhere
    write_new(folder / "new_photos", write_known(folder / "known_photos"))
    shell = "".join(map(installed.shell, SHELL))
    return folder, shell, "".join(installed.python("-c", block) for block in PYTHON)


def test_two_folders_of_pictures_give_the_copies(followed: tuple[Path, str, str]) -> None:
    folder, shell, _ = followed
    found = pd.read_csv(folder / "runs" / "find" / "found.csv", dtype=str, keep_default_na=False)
    copies = found[found["verdict"] == "copy"].set_index("new")["known"].to_dict()
    assert copies == {new: known for new, known in NEW.items() if known}
    assert f"{len(copies)} of {len(NEW)} new pictures are copies of the 12 known pictures" in shell
    assert (folder / "runs" / "find" / "leaks" / "report.html").exists()


def test_the_main_job_ends_with_a_scored_submission(followed: tuple[Path, str, str]) -> None:
    folder, shell, _ = followed
    assert "is a valid submission" in shell
    assert "macro F1 is" in shell
    assert (folder / "runs" / "submission" / "origins.csv").exists()


def test_the_python_blocks_give_what_the_commands_give(followed: tuple[Path, str, str]) -> None:
    _, shell, python = followed
    (summary,) = re.findall(r"^\d+ of \d+ test images are copies of .*$", shell, re.MULTILINE)
    assert summary in python
