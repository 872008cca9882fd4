"""Plots of the leak benchmark."""

from pathlib import Path

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.leaks import plot

ROWS = [
    ("ours", "wild", "blur", 3, 4, 0.2, 1.0),
    ("cosine", "wild", "blur", 1, 4, 0.0, 0.8),
    ("phash", "wild", "blur", 2, 4, 0.1, 0.9),
    ("ours", "wild", "collage", 0, 4, 0.0, 0.6),
    ("cosine", "wild", "collage", 0, 4, 0.0, 0.6),
    ("ours", "easy", "exact", 5, 5, 0.5, 1.0),
]


def test_edits_stand_beside_the_best_other_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = ["method", "hardness", "edit", "count", "of", "low", "high"]
    table = pd.DataFrame(ROWS, columns=columns).assign(atlas="drawn")
    drawn: list[Axes] = []
    monkeypatch.setattr(plt, "close", lambda figure: drawn.extend(figure.axes))
    plot.save_edits_plot(tmp_path / "edits.png", table)
    assert (tmp_path / "edits.png").read_bytes().startswith(b"\x89PNG")
    wild, easy = drawn
    assert [label.get_text() for label in wild.get_yticklabels()] == ["collage", "blur"]
    assert [label.get_text() for label in easy.get_yticklabels()] == ["exact"]
    ours, rival = (container.lines[0].get_xdata() for container in wild.containers)
    assert list(ours) == [0.75, 0.0]
    assert list(rival) == [0.5, 0.0]  # phash for blur, cosine for collage
