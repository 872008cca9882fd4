import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from atlas.inference.runner import rows_of
from atlas.inference.torch_runner import TorchRunner, evaluating, forward_rows
from atlas.training.backbones import build_backbone
from atlas.training.layers import AvgMaxPool, Normalise, measure_channels, winner_head
from tests.atlas.training.stores import tiny_store


@pytest.fixture(params=["resnet10t", "tf_efficientnet_lite0"])
def made(request: pytest.FixtureRequest, tmp_path: Path):
    """Return a network with a head and a store of 19 images."""
    store = tiny_store(tmp_path, count=19, size_px=48)
    backbone = build_backbone(request.param, channels=4, stem="winner", weights="none", seed=0)
    torch.manual_seed(0)
    head = winner_head(2 * backbone.features, 64, 32, dropouts=(0.25, 0.5), last_batchnorm=True)
    normalise = Normalise(measure_channels(store, store.ids))
    return nn.Sequential(normalise, backbone.module, AvgMaxPool(), head), store


def test_rows_are_equal_bit_for_bit_in_any_batch(made) -> None:
    network, store = made
    rows = forward_rows(network, store.read, store.ids)
    assert rows.dtype == np.float32
    assert rows.shape == (19, 32)
    assert np.array_equal(rows, forward_rows(network, store.read, store.ids))
    shuffled = np.random.default_rng(0).permutation(19)
    again = forward_rows(network, store.read, [store.ids[n] for n in shuffled])
    assert np.array_equal(again, rows[shuffled])
    for n in (0, 7, 18):
        assert np.array_equal(forward_rows(network, store.read, [store.ids[n]])[0], rows[n])


def test_a_runner_does_not_change_the_network(made) -> None:
    network, store = made
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    forward_rows(network, store.read, store.ids)
    assert network.training
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_no_ids_give_no_rows(made) -> None:
    network, store = made
    assert len(forward_rows(network, store.read, [])) == 0


@pytest.mark.gpu
def test_a_gpu_repeats_its_results_and_nearly_equals_the_cpu(made) -> None:
    network, store = made
    rows = forward_rows(network, store.read, store.ids)
    assert np.array_equal(rows, forward_rows(network, store.read, store.ids))
    with torch.inference_mode():
        on_cpu = network.cpu().eval()(torch.from_numpy(store.read(store.ids)))
    assert np.allclose(rows, on_cpu.numpy(), atol=1e-2)


@pytest.mark.gpu
def test_a_gpu_in_bfloat16_repeats_its_results_and_nearly_equals_float32(made) -> None:
    network, store = made
    runner = TorchRunner(network, batch_size=8, precision="bfloat16")
    rows, exact = (
        rows_of(runner, store.read, store.ids),
        forward_rows(network, store.read, store.ids),
    )
    assert np.array_equal(rows, rows_of(runner, store.read, store.ids))
    assert not np.array_equal(rows, exact)
    assert np.allclose(rows, exact, atol=0.2)


def test_bfloat16_differs_slightly(made) -> None:
    network, store = made
    exact = forward_rows(network, store.read, store.ids, batch_size=8)
    rows = rows_of(TorchRunner(network, batch_size=8, precision="bfloat16"), store.read, store.ids)
    assert rows.dtype == np.float32
    assert not np.array_equal(rows, exact)
    assert np.allclose(rows, exact, atol=0.2)


def test_the_next_batch_is_read_while_the_network_runs() -> None:
    """The network does not finish its first batch before the second one is being read."""
    second_read = threading.Event()

    class Waiting(nn.Module):
        def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
            assert second_read.wait(timeout=60)
            return images_NCHW.float().mean((2, 3))

    def read(ids):
        if "2" in ids:
            second_read.set()
        return np.stack([np.full((1, 4, 4), int(i), np.uint8) for i in ids])

    rows = forward_rows(Waiting(), read, list("01234"), batch_size=2)
    assert rows.ravel().tolist() == [0, 1, 2, 3, 4]


def test_an_error_while_reading_is_raised(made) -> None:
    network, store = made

    def read(ids):
        if store.ids[9] in ids:
            raise OSError("gone")
        return store.read(ids)

    with pytest.raises(OSError, match="gone"):
        forward_rows(network, read, store.ids, batch_size=2)


def test_a_network_predicts_with_deterministic_methods_of_cudnn():
    """cuDNN is on: without `enabled=True`, `torch.backends.cudnn.flags` switches it off."""
    before = torch.backends.cudnn.enabled, torch.backends.cudnn.deterministic
    with evaluating(nn.Linear(2, 2)):
        assert torch.backends.cudnn.enabled
        assert torch.backends.cudnn.deterministic
    assert (torch.backends.cudnn.enabled, torch.backends.cudnn.deterministic) == before
