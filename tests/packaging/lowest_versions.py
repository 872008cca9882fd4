"""Print a constraints file that holds every requirement of pyproject.toml at its lower bound.

`make test-lowest` installs with it, so that pyproject.toml stays the only list of versions.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
BOUNDED = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<version>[\w.]+)")


def lowest_versions(project: Mapping[str, Any]) -> Iterator[str]:
    """Yield `name==version` for each requirement that has a lower bound.

    Args:
        project: The table `[project]` of pyproject.toml, as tomllib reads it.
    """
    for requirement in requirements(project):
        if bounded := BOUNDED.match(requirement):
            yield f"{bounded['name']}=={bounded['version']}"


def requirements(project: Mapping[str, Any]) -> Iterator[str]:
    """Yield every requirement, of the package itself and of all its extras."""
    yield from project["dependencies"]
    for extra in project["optional-dependencies"].values():
        yield from extra


if __name__ == "__main__":
    print("\n".join(lowest_versions(tomllib.loads(PYPROJECT.read_text())["project"])))
