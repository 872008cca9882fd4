from pathlib import Path

import pytest
import torch
from torch import nn

from atlas.core.errors import UserError
from atlas.inference import openvino_runner
from atlas.inference.runtimes import candidates, open_runner, problem
from atlas.inference.settings import TORCH_FLOAT32, RuntimeChoice, RuntimeOptions

INSTALLED = openvino_runner.installed


def without(*packages: str):
    """Pretend that these packages are not installed."""
    return lambda name="openvino": name not in packages and INSTALLED(name)


def names(**options: str) -> list[str]:
    return [str(choice) for choice in candidates(RuntimeOptions(**options))]


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch):
    """Return a function that sets the precisions of OpenVINO on this machine, which has no GPU."""

    def has(*precisions: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(openvino_runner, "installed", lambda name="openvino": True)
        monkeypatch.setattr(openvino_runner, "has_precision", lambda one: one in precisions)

    return has


def test_alternatives_of_a_runtime_are_more_and_more_exact(processor) -> None:
    processor("float32", "bfloat16", "int8")
    float32 = ["openvino float32", "torch float32"]
    assert names() == ["openvino bfloat16", *float32]
    assert names(precision="int8") == ["openvino int8", "openvino bfloat16", *float32]
    assert names(runtime="openvino", precision="float32") == float32
    assert names(runtime="torch") == ["torch float32"]
    assert names(runtime="torch", precision="bfloat16") == ["torch bfloat16", "torch float32"]


def test_a_processor_without_bfloat16_uses_float32_and_refuses_bfloat16(processor) -> None:
    processor("float32", "int8")
    assert names() == ["openvino float32", "torch float32"]
    assert names(precision="int8") == ["openvino int8", "openvino float32", "torch float32"]
    with pytest.raises(UserError, match="not support bfloat16; use --precision float32"):
        candidates(RuntimeOptions(precision="bfloat16"))


def test_without_openvino_torch_is_used_and_the_package_is_named(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(openvino_runner, "installed", without("openvino", "nncf"))
    assert names() == ["torch float32"]
    for options in (RuntimeOptions(runtime="openvino"), RuntimeOptions(precision="int8")):
        with pytest.raises(UserError, match=r"openvino is not installed: .*\[fast\]"):
            candidates(options)


def test_8_bits_need_nncf_and_openvino(processor, monkeypatch) -> None:
    processor("float32", "bfloat16", "int8")
    with pytest.raises(UserError, match="use --runtime openvino"):
        candidates(RuntimeOptions(runtime="torch", precision="int8"))
    monkeypatch.setattr(openvino_runner, "installed", lambda name="openvino": name != "nncf")
    with pytest.raises(UserError, match="nncf is not installed"):
        candidates(RuntimeOptions(precision="int8"))


def test_a_choice_that_this_machine_does_not_support_is_refused(processor) -> None:
    processor("float32")
    choice = RuntimeChoice(runtime="openvino", precision="bfloat16")
    assert "bfloat16" in problem(choice)
    with pytest.raises(UserError, match="openvino bfloat16: this processor does not support"):
        open_runner(nn.Identity(), choice, batch_size=1, model=Path("nowhere"))


def test_torch_in_float32_runs_everywhere(monkeypatch) -> None:
    monkeypatch.setattr(openvino_runner, "installed", without("openvino"))
    assert problem(TORCH_FLOAT32) == ""
    assert open_runner(nn.Identity(), TORCH_FLOAT32, batch_size=3, model=None).batch_size == 3


@pytest.mark.gpu
def test_a_gpu_with_bfloat16_uses_torch_in_bfloat16_by_default() -> None:
    supported = torch.cuda.is_bf16_supported(including_emulation=False)
    assert names() == [*(["torch bfloat16"] if supported else []), "torch float32"]
