"""Texts of figures are drawn as they are, and numbers of axes as numbers."""

from pathlib import Path

import pytest

from atlas.report.figures import panels, save_figure


@pytest.mark.parametrize("scale", ["log", "symlog"])
def test_powers_of_ten_are_numbers_and_names_are_no_formulas(scale: str, tmp_path: Path) -> None:
    figure, ((axis,),) = panels(1, 1, (4, 3))
    axis.plot([1, 10, 100, 10_000], [1, 10, 100, 10_000])
    axis.set_yscale(scale)
    axis.set_title("costs $1 and $2")
    save_figure(tmp_path / "figure.png", figure)
    powers = [label for label in axis.get_yticklabels() if "10^" in label.get_text()]
    assert powers
    assert all(label.get_parse_math() for label in powers)
    assert not axis.title.get_parse_math()
