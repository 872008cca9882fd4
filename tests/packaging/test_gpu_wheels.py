"""What `benchmarks/gpu/README.md` copies to a machine without a registry is all that it needs."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import PROJECT
from tests.packaging.lowest_versions import PYPROJECT

README = (PROJECT / "benchmarks/gpu/README.md").read_text()
SECTION = README.partition("## A machine without a package registry")[2].partition("\n### ")[0]
ROW = re.compile(r"^\| ([\w-]+) [\w.]+ \| ([\d,]+) \|", re.MULTILINE)
AS_WRITTEN = {"opencv": "opencv-python-headless"}  # OpenCV (headless)


def on_the_machine() -> set[str]:
    """The packages of the sentence that lists what is there."""
    sentence = SECTION.partition("It has ")[2].partition(". Copy")[0]
    names = re.findall(
        r"[A-Za-z][\w-]+", re.sub(r"\(.*?\)|or newer for its CUDA|and ", "", sentence)
    )
    return {canonicalize_name(AS_WRITTEN.get(name.lower(), name)) for name in names}


def copied() -> set[str]:
    """The packages of the command that downloads wheels."""
    command = SECTION.partition("python -m pip download")[2].partition("```")[0]
    words = re.split(r"[\s\\]+", re.sub(r"--[\w-]+[= ]\S+|--\S+", "", command))
    return {canonicalize_name(word.partition("==")[0]) for word in words if word}


def needed(requirements: list[str]) -> Iterator[str]:
    for text in requirements:
        requirement = Requirement(text)
        if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def test_the_machine_or_the_wheels_have_every_dependency() -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    assert set(needed(wanted)) - on_the_machine() - copied() == set()


def test_the_machine_or_the_wheels_have_what_the_wheels_need() -> None:
    """The wheels are installed without their dependencies."""
    for name in sorted(copied()):
        missing = set(needed(requires(name) or [])) - on_the_machine() - copied()
        assert missing == set(), f"{name} needs {missing}"


def test_the_table_lists_the_wheels_of_the_command_and_their_sum() -> None:
    rows = ROW.findall(SECTION)
    assert {canonicalize_name(name) for name, _ in rows} == copied()
    sizes = [int(size.replace(",", "")) for _, size in rows]
    assert f"| together | {sum(sizes):,} |" in SECTION
