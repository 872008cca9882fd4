"""The public names: which there are, how they are called, and what importing them loads."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import atlas
from atlas.cli.commands import COMMANDS, function_of
from tests.conftest import PROJECT

HEAVY = ("torch", "faiss", "pandas", "numpy", "tyro", "rich")


def test_the_public_names_can_be_listed() -> None:
    assert set(atlas.__all__) <= set(dir(atlas))


@pytest.mark.parametrize("name", sorted(set(atlas.__all__) - {"UserError"}))
def test_every_public_function_has_an_example(name: str) -> None:
    assert "Example:" in inspect.getdoc(getattr(atlas, name))


@pytest.mark.parametrize("name", sorted(set(atlas.__all__) & set(COMMANDS)))
def test_a_function_has_the_defaults_of_the_command_of_its_name(name: str) -> None:
    own = inspect.signature(getattr(atlas, name)).parameters
    of_command = inspect.signature(function_of(name)).parameters
    for option in set(own) & set(of_command) - {"settings"}:
        ours, theirs = own[option].default, of_command[option].default
        if isinstance(theirs, Path):
            theirs = str(theirs)
        if isinstance(theirs, tuple):
            theirs = tuple(map(str, theirs))
        assert ours == theirs, option


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = f"import atlas, sys, json; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        atlas.nothing  # noqa: B018


def test_the_settings_can_be_imported_from_one_place() -> None:
    from atlas import settings

    assert settings.LeakSettings(copy_precision=0.9).copy_precision == 0.9
    assert set(settings.__all__) <= set(dir(settings))
