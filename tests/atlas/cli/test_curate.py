"""The lines that the commands on data print."""

from pathlib import Path

from atlas.cli.curate import rare_lines
from atlas.workflows.curate.rare_augmentation import plan_of
from atlas.workflows.settings import RareSettings
from tests.conftest import write_tiny_atlas


def test_counts_before_and_after_are_printed(tmp_path: Path) -> None:
    """Six images of label zero, two of one (an external one among them), one of two."""
    data = write_tiny_atlas(
        tmp_path / "data",
        train={**{f"z{n}": "0" for n in range(6)}, "o": "1", "t": "0 2"},
        external={"e": "1"},
        test=["q"],
    )
    lines = list(rare_lines(plan_of(data, RareSettings(least=4))))
    assert [line.split() for line in lines[:2]] == [
        ["one", "2", "->", "4"],
        ["two", "1", "->", "4"],
    ]
