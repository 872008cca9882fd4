"""The loss table: its rows, its figures by hand, and that runs are equal but for the loss."""

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from atlas.core.errors import UserError
from atlas.dataset.splits.folds import Fold
from atlas.workflows.evaluate.cross_validation import METRICS, fold_atlas, train_on
from atlas.workflows.evaluate.loss_comparison import (
    TABLE_2,
    Run,
    compare_losses,
    losses_named,
    table_of,
)
from atlas.workflows.settings import ComparisonSettings, FoldSettings
from retrieval.losses.factory import build_loss
from retrieval.settings import EmbedderSettings
from tests.atlas.workflows.classify.made_folds import settings, write_textures

TWO_BLOCKS = FoldSettings(folds=2, gap=1)
FILES = ("losses.csv", "table.csv", "losses.png")


@pytest.mark.parametrize("name", TABLE_2)
def test_each_row_is_a_loss_that_can_be_had(name: str) -> None:
    torch.manual_seed(0)
    loss = build_loss(TABLE_2[name], classes=3, dimension=4)
    assert torch.isfinite(loss(torch.randn(8, 4), torch.arange(8) % 3))


def test_rows_are_those_of_the_paper() -> None:
    assert len(TABLE_2) == 18
    cm2 = TABLE_2["CM2 (0.9, 0.4, 0.15)"]
    assert (cm2.angle_factor, cm2.margin_radians, cm2.margin_cosine) == (0.9, 0.4, 0.15)
    # A name's numbers are the settings', and its terms weigh 1.
    for name, loss in TABLE_2.items():
        if name.startswith("ArcFace ("):
            assert name == f"ArcFace ({loss.margin_radians:g})"
        assert loss.intra_weight == float("Intra" in name)
        assert loss.inter_weight == float("Inter" in name)
        assert loss.triplet_weight == float("+Triplet" in name)
    fold = Fold(name="fold1", training_ids=(), test_ids=())
    assert len({Run(loss=name, seed=0, fold=fold).folder_name for name in TABLE_2}) == 18


def test_rows_are_named_with_commas_between_them() -> None:
    assert losses_named("all") == list(TABLE_2)
    assert losses_named("softmax,cm1 (1,0.3,0.2), ArcFace(0.5)") == [
        "ArcFace (0.5)", "CM1 (1, 0.3, 0.2)", "Softmax",
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"no row 'arcface'; the rows are: ArcFace \(0\.4\); "):
        losses_named("softmax, arcface")


def test_class_vectors_start_alike() -> None:
    starts = {}
    for name, loss in TABLE_2.items():
        torch.manual_seed(0)
        starts[name] = build_loss(loss, classes=3, dimension=4).class_vectors_CD
    assert starts.pop("Triplet (0.35)") is None
    starts.pop("Softmax")  # a linear layer, where length counts
    first = starts["ArcFace (0.5)"]
    assert all(torch.equal(start, first) for start in starts.values())


def test_table_by_hand() -> None:
    rows = {"loss": ["b", "a", "b"], "seed": [0, 0, 1], "fold": ["fold1"] * 3}
    runs = pd.DataFrame(rows | {metric: [0.2, 0.5, 0.6] for metric in METRICS})
    table = table_of(runs)
    assert table["loss"].tolist() == ["b", "a"]
    assert table["runs"].tolist() == [2, 1]
    assert table["map_at_r_mean"].tolist() == pytest.approx([0.4, 0.5])
    assert table["map_at_r_std"][0] == pytest.approx(0.08**0.5)


def test_only_the_loss_differs(tmp_path: Path) -> None:
    """At a rate that moves nothing, every loss ends with the same network: the same start, the
    same images in the same order."""
    data = write_textures(tmp_path / "data")
    still = settings(learning_rate=1e-30)
    atlas, still = fold_atlas(data, tmp_path / "run", still, TWO_BLOCKS)
    ends = []
    for n, name in enumerate(("ArcFace (0.5)", "Softmax", "Triplet (0.35)")):
        how = replace(still, loss=TABLE_2[name])
        embedder = train_on(atlas, atlas.folds[0], how, tmp_path / f"{n}")
        ends.append(embedder.network.state_dict())
    for weights in zip(*(end.values() for end in ends), strict=True):
        # What starts at 0 is moved by 1e-30; statistics of BatchNorm, of the same images, by all.
        assert all(torch.allclose(weights[0], other, rtol=0, atol=1e-20) for other in weights)


@pytest.mark.slow
def test_a_comparison_that_grows_is_the_one_made_at_once(tmp_path: Path, caplog) -> None:
    """Whatever is finished is only read, and processes side by side give the same bytes."""
    data, grown, at_once = (tmp_path / name for name in ("data", "grown", "at_once"))
    write_textures(data)

    def compare(out: Path, *, jobs: int, **asked: object) -> pd.DataFrame:
        rows = {"rows": "softmax, arcface (0.5)", "seeds": 1, "first_folds": 1}
        compared = ComparisonSettings(**(rows | asked))
        return compare_losses(data, out, settings(), TWO_BLOCKS, compared, jobs=jobs)

    caplog.set_level(logging.INFO, logger="atlas.workflows.evaluate")
    first = compare(grown, jobs=1, rows="Softmax")
    assert first["loss"].tolist() == ["Softmax"]
    caplog.clear()
    table = compare(grown, jobs=1)
    assert caplog.messages[0] == "2 runs, 1 of them finished before"
    assert len(caplog.messages) == 2
    assert table["loss"].tolist() == ["ArcFace (0.5)", "Softmax"]
    assert table["runs"].tolist() == [1, 1]
    assert {path.name for path in grown.iterdir()} == {*FILES, "settings.json", "finished"}

    compare(at_once, jobs=2)
    assert all((grown / name).read_bytes() == (at_once / name).read_bytes() for name in FILES)
    for name in ("losses.csv", "finished/softmax-seed0-fold1.json"):
        (grown / name).write_text((grown / name).read_text().replace("0", "1"))
    caplog.clear()
    compare(grown, jobs=1)
    assert caplog.messages[0].endswith("json was damaged; its run is repeated")
    assert caplog.messages[1] == "2 runs, 1 of them finished before"
    assert all((grown / name).read_bytes() == (at_once / name).read_bytes() for name in FILES)
    with pytest.raises(UserError, match="folds was 2, is 3"):
        compare_losses(
            data, grown, settings(), replace(TWO_BLOCKS, folds=3), ComparisonSettings(),
            jobs=1,
        )  # fmt: skip


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    data = write_textures(tmp_path / "data")

    def compare(how: EmbedderSettings, **asked: object) -> None:
        compare_losses(data, tmp_path / "out", how, TWO_BLOCKS, ComparisonSettings(**asked),
                       jobs=1)  # fmt: skip

    with pytest.raises(UserError, match="--seeds must be at least 1"):
        compare(settings(), seeds=0)
    with pytest.raises(UserError, match="--first-folds must be at least 1"):
        compare(settings(), first_folds=0)
    with pytest.raises(UserError, match="label-similarity has no classes"):
        compare(replace(settings(), classes="label-similarity"))
