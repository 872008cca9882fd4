"""The cells of the tables that the commands on classifiers print."""

import pandas as pd

from atlas.cli.classify import fold_cells
from classify.folds import SCORES


def test_the_printed_table_has_a_row_for_each_fold_and_for_all() -> None:
    names = ["fold1", "fold2", "out_of_fold", "mean", "std"]
    counts = {
        "training_images": [15, 15, None, None, None],
        "tested_images": [15, 15, 30, None, None],
    }
    table = pd.DataFrame({"fold": names, **counts, **{score: [0.5] * 5 for score in SCORES}})
    cells = fold_cells(table.astype(dict.fromkeys(counts, "Int64")))
    assert [row[0] for row in cells] == ["", "fold1", "fold2", "out_of_fold", "mean", "std"]
    assert cells[3][1] == "-/30"
    assert {len(row) for row in cells} == {6}
