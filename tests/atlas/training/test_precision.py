"""The precision in which a machine trains."""

import pytest
import torch

from atlas.training.precision import with_own_precision
from atlas.training.settings import TrainingSettings

AUTO = TrainingSettings(epochs=1, batch_size=2, learning_rate=1e-3)


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({"avx512_bf16": True}, "bf16-mixed"), ({"amx_bf16": True}, "bf16-mixed"),
     ({"avx2": True, "avx512_bf16": False}, "32-true"), ({}, "32-true")],
)  # fmt: skip
def test_a_processor_with_bfloat16_trains_in_it(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert with_own_precision(AUTO).precision == precision


def test_a_given_precision_is_kept(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    given = TrainingSettings(epochs=1, batch_size=2, learning_rate=1e-3, precision="32-true")
    assert with_own_precision(given) == given
