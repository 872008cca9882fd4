"""The lowest versions that `make test-lowest` installs are those of pyproject.toml."""

import tomllib

from tests.packaging.lowest_versions import PYPROJECT, lowest_versions, requirements


def test_every_requirement_has_a_lower_bound() -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    own = [each for each in requirements(project) if each.startswith("atlas-retrieval[")]
    assert len(list(lowest_versions(project))) == len(list(requirements(project))) - len(own)


def test_bounds_become_exact_versions() -> None:
    project = {
        "dependencies": ["numpy>=2.2", "scikit-learn>=1.7.0"],
        "optional-dependencies": {"a": ["pyvips[binary]>=3.2"], "b": ["atlas-retrieval[a]"]},
    }
    assert list(lowest_versions(project)) == ["numpy==2.2", "scikit-learn==1.7.0", "pyvips==3.2"]
