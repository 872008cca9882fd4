"""What `atlas bench` expects of a machine."""

import tempfile
from pathlib import Path

import pytest

from atlas.training import pretrained, weight_packages
from atlas.workflows import bench
from atlas.workflows.bench import Speed, measure_speed


def test_the_expected_time_is_what_happens_once_and_what_each_image_takes():
    speed = Speed(command="build_index", once_s=10, images_per_s=50)
    assert speed.seconds(0) == 10
    assert speed.seconds(1000) == 30


def test_both_commands_are_measured_and_nothing_is_left(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if not pretrained.available(weight_packages.LITE0):
        pytest.skip(f"{weight_packages.PACKAGES[weight_packages.LITE0]} is not installed")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(bench, "FEW", 8)
    monkeypatch.setattr(bench, "MANY", 16)
    index, leaks = measure_speed(64)
    assert (index.command, leaks.command) == ("build_index", "find_leaks")
    assert index.images_per_s > 0
    assert leaks.images_per_s > 0
    assert not list(tmp_path.iterdir())
