"""Run files that the project shows are understood by the commands they name."""

import pytest

from atlas.workflows.runs.run_file import read_run_file
from scripts.run import require_understood
from tests.conftest import PROJECT

EXAMPLES = sorted((PROJECT / "examples").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_understood(path):
    stages = read_run_file(path).stages
    assert stages[-1].name == "submission"
    for stage in stages:
        require_understood(stage.name, stage.script, stage.words)
