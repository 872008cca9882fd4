"""Run files that the project shows are understood by the commands they name."""

import pytest

from atlas.cli.commands import require_understood
from atlas.core.errors import UserError
from atlas.workflows.runs.run_file import read_run_file
from tests.conftest import PROJECT

EXAMPLES = sorted((PROJECT / "examples").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_understood(path):
    stages = read_run_file(path).stages
    assert stages[-1].name == "submission"
    for stage in stages:
        require_understood(stage.name, stage.script, stage.words)


def test_settings_that_cannot_work_are_refused_with_their_place():
    with pytest.raises(UserError, match=r"^\[leaks\]: --neighbours must .*; nothing was done$"):
        require_understood("[leaks]", "find_leaks", ["--neighbours", "0"])


def test_a_single_fold_is_refused_before_anything_runs():
    with pytest.raises(UserError, match=r"^\[folds\]: --folds must .*; nothing was done$"):
        require_understood("[folds]", "train_folds", ["smoke", "--folds", "1"])


def test_a_recipe_that_does_not_suit_folds_is_refused_before_anything_runs():
    with pytest.raises(UserError, match=r"^\[folds\]: schedule plateau .*; nothing was done$"):
        require_understood("[folds]", "train_folds", ["gapnet_pl"])
