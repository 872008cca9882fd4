"""The model card of an embedder says what it was made from and what it is not for."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from atlas.report.model_card import (
    MODEL_CARD_FILE,
    ModelCard,
    model_card_text,
    save_model_card,
)

CARD = ModelCard(
    name="embedder",
    atlas="Drawn cells",
    channels=("red", "green"),
    image_size_px=64,
    dimension=128,
    images={"labelled images": 12345, "held-out images of trained identities": 300},
    tables_hash="0123abcd",
    class_meaning="A class is an identity.",
    class_count=1200,
    started_from="ImageNet weights",
    settings={"backbone": "resnet50", "training.epochs": 50},
    best_epoch=17,
    measure="share that is found",
    score=0.87654,
    versions={"torch": "2.11"},
    fingerprint="feedbeef",
)


def test_the_card_has_its_parts_and_every_figure() -> None:
    text = model_card_text(CARD)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "Data", "Classes", "Settings", "Held-out figures", "Intended use", "Limits", "Licence",
        "Versions",
    ]  # fmt: skip
    for row in (
        "| atlas | Drawn cells |", "| channels | red, green |", "| labelled images | 12,345 |",
        "| `training.epochs` | 50 |", "| best epoch | 17 |", "| share that is found | 0.8765 |",
        "- torch 2.11",
    ):  # fmt: skip
        assert f"\n{row}\n" in text
    assert "There are 1,200 classes." in text


@pytest.mark.parametrize("start", ["random weights, seed 0", "ImageNet weights"])
def test_only_an_embedder_from_random_weights_is_warned_of(start: str) -> None:
    text = model_card_text(replace(CARD, started_from=start))
    assert ("costs much accuracy" in text) == start.startswith("random")


def test_equal_cards_are_equal_files(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        save_model_card(tmp_path / name, CARD)
    one, other = ((tmp_path / name / MODEL_CARD_FILE).read_bytes() for name in ("one", "other"))
    assert one == other
    assert [path.name for path in (tmp_path / "one").iterdir()] == [MODEL_CARD_FILE]
