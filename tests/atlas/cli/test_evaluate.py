"""The cells of the tables that evaluations print."""

from pathlib import Path

import pandas as pd

from atlas.cli.evaluate import fold_cells, loss_cells, text_tables
from atlas.workflows.evaluate.cross_validation import METRICS
from atlas.workflows.evaluate.embedder import evaluate
from atlas.workflows.evaluate.loss_comparison import table_of
from tests.atlas.workflows.evaluate.evaluated import save_random_embedder, write_evaluated_atlas


def test_cells_of_folds_and_of_their_spread() -> None:
    rows = {"fold": ["fold1", "fold2"], "training_images": [3, 3], "test_images": [1, 1]}
    rows |= {f"{e}_{m}": [0.4, 0.6] for e in ("trained", "frozen") for m in METRICS}
    rows["frozen_verification_accuracy"] = [None, None]
    cells = fold_cells(pd.DataFrame(rows))
    assert ["trained", "fold1", "3/1", "0.400", "0.400", "0.400", "0.400"] in cells
    assert ["frozen", "std", "", "0.141", "0.141", "0.141", "-"] in cells


def test_cells_of_losses() -> None:
    rows = {"loss": ["b", "a", "b"], "seed": [0, 0, 1], "fold": ["fold1"] * 3}
    runs = pd.DataFrame(rows | {metric: [0.2, 0.5, 0.6] for metric in METRICS})
    assert loss_cells(table_of(runs))[1:] == [
        ["b", "2", *["0.400 ± 0.283"] * 4], ["a", "1", *["0.500"] * 4],
    ]  # fmt: skip


def test_tables_for_people_name_every_protocol(tmp_path: Path) -> None:
    data = write_evaluated_atlas(tmp_path / "data")
    embedder = save_random_embedder(tmp_path / "embedder")
    evaluation = evaluate(data, str(embedder), tmp_path / "out")
    ranking, verification = text_tables(evaluation.measurements)
    assert [row[0] for row in ranking.rows if not row[0].startswith(" ")] == [
        "closed", "open", "open_set", "test", "same_image", "sibling",
    ]  # fmt: skip
    assert {len(row) for row in ranking.rows} == {len(ranking.columns)}
    assert {len(row) for row in verification.rows} == {len(verification.columns)}
    assert ranking.rows[0][5].startswith("1.000 (0.398 to 1.000)")  # 4 of 4: .025 ** (1 / 4)
