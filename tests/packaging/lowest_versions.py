"""Print a constraints file that holds every requirement of pyproject.toml at its lower bound.

`make test-lowest` installs with it, so that pyproject.toml stays the only list of versions.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<version>[\w.]+)")


def lowest_versions(project: dict[str, Any], *, without: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield `name==version` for each requirement of a `[project]` table that has a lower bound.

    Args:
        project: The table, as tomllib reads it.
        without: Extras that are left out, such as one that excludes another.
    """
    extras: dict[str, list[str]] = project["optional-dependencies"]
    chosen = [words for extra, words in extras.items() if extra not in without]
    for requirement in sum(chosen, start=list(project["dependencies"])):
        if bound := REQUIREMENT.match(requirement):
            yield f"{bound['name']}=={bound['version']}"


if __name__ == "__main__":
    print("\n".join(lowest_versions(tomllib.loads(PYPROJECT.read_text())["project"])))
