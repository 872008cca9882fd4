import sys

import numpy as np
import pytest
import torch
from torch import nn

from atlas.core.errors import UserError
from atlas.inference.openvino_runner import (
    OpenVinoRunner,
    export,
    has_precision,
    installed,
    model_hash,
    quantise,
)
from atlas.inference.runner import rows_of
from atlas.inference.torch_runner import forward_rows
from atlas.training.backbones import build_backbone
from atlas.training.layers import AvgMaxPool, Normalise, measure_channels, winner_head
from tests.atlas.training.stirred import stirred
from tests.atlas.training.stores import tiny_store

pytestmark = pytest.mark.skipif(not installed(), reason="OpenVINO is not installed")

BATCH, SIZE_PX = 4, 48
# The other network, untrained, amplifies any deviation of its input.
STEADY = pytest.mark.parametrize("made", ["resnet10t"], indirect=True)


class Network(nn.Module):
    def __init__(self, normalise: nn.Module, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.normalise, self.backbone, self.head = normalise, backbone, head

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.head(self.backbone(self.normalise(images_NCHW))), dim=1)


@pytest.fixture(scope="module", params=["resnet10t", "tf_efficientnet_lite0"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Return a network, a store of 18 images, their outputs by torch, and the exported network."""
    folder = tmp_path_factory.mktemp("made")
    store = tiny_store(folder / "store", count=18, size_px=SIZE_PX)
    backbone = build_backbone(request.param, channels=4, stem="winner", weights="none", seed=0)
    torch.manual_seed(0)
    head = winner_head(2 * backbone.features, 64, 32, dropouts=(0.25, 0.5), last_batchnorm=True)
    normalise = Normalise(measure_channels(store, store.ids))
    whole = Network(normalise, backbone.module, nn.Sequential(AvgMaxPool(), *head))
    network = stirred(whole, torch.from_numpy(store.read(store.ids)))
    export(network, folder / "model", shape_BCHW=(BATCH, 4, SIZE_PX, SIZE_PX))
    rows = forward_rows(network, store.read, store.ids)
    assert (rows @ rows.T)[~np.eye(18, dtype=bool)].max() < 0.9  # else cosines mean nothing
    return network, store, rows, folder / "model"


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(1)


def test_float32_gives_the_same_as_torch(made) -> None:
    _, store, rows, model = made
    own = rows_of(OpenVinoRunner(model, "float32"), store.read, store.ids)
    assert own.dtype == np.float32
    assert np.allclose(own, rows, atol=1e-4)


@STEADY
def test_bfloat16_differs_slightly(made) -> None:
    if not has_precision("bfloat16"):
        pytest.skip("this processor has no bfloat16")
    _, store, rows, model = made
    own, exact = (
        rows_of(OpenVinoRunner(model, precision), store.read, store.ids)
        for precision in ("bfloat16", "float32")
    )
    assert cosines(own, rows).min() > 0.98
    assert np.abs(own - exact).max() > 1e-4


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rows_are_equal_bit_for_bit_in_any_batch(made, precision) -> None:
    """This holds in any order, alone, twice, and for a model that is loaded again."""
    if not has_precision(precision):
        pytest.skip(f"this processor has no {precision}")
    _, store, _, model = made
    runner, again = OpenVinoRunner(model, precision), OpenVinoRunner(model, precision)
    rows = rows_of(runner, store.read, store.ids)
    assert np.array_equal(rows, rows_of(runner, store.read, store.ids))
    assert np.array_equal(rows, rows_of(again, store.read, store.ids))
    shuffled = np.random.default_rng(0).permutation(18)
    assert np.array_equal(
        rows_of(again, store.read, [store.ids[n] for n in shuffled]), rows[shuffled]
    )
    for n in (0, 7, 17):
        assert np.array_equal(rows_of(runner, store.read, [store.ids[n]])[0], rows[n])


def test_an_export_does_not_change_the_network_and_sends_no_telemetry(made, tmp_path) -> None:
    network, _, _, _ = made
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    export(network, tmp_path / "model", shape_BCHW=(1, 4, SIZE_PX, SIZE_PX))
    assert network.training
    network.eval()
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert sys.modules["openvino_telemetry"] is None


def test_equal_exports_give_equal_files(made, tmp_path) -> None:
    network, _, _, model = made
    export(network, tmp_path / "again", shape_BCHW=(BATCH, 4, SIZE_PX, SIZE_PX))
    assert model_hash(tmp_path / "again") == model_hash(model)


def test_a_network_that_openvino_cannot_convert_is_refused_in_one_line(tmp_path) -> None:
    class Strange(nn.Module):
        def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(images_NCHW.float()[:, 0]).real

    with pytest.raises(UserError, match="OpenVINO cannot convert this network") as refused:
        export(Strange(), tmp_path / "model", shape_BCHW=(1, 4, 8, 8))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "model").exists()


@STEADY
@pytest.mark.skipif(not installed("nncf"), reason="nncf is not installed")
def test_only_the_backbone_is_quantised_and_the_output_changes_little(made, tmp_path) -> None:
    _, store, rows, model = made
    batches = [store.read(store.ids[start : start + BATCH]) for start in (0, 4, 8, 12)]
    quantise(model, tmp_path / "int8", batches, part="backbone")
    quantise(model, tmp_path / "again", batches, part="backbone")
    assert model_hash(tmp_path / "int8") == model_hash(tmp_path / "again") != model_hash(model)
    from openvino import Core  # imported after the runner, which switches telemetry off

    operations = Core().read_model(str(tmp_path / "int8" / "model.xml")).get_ops()
    quantisers = [o for o in operations if o.get_type_name() == "FakeQuantize"]
    assert len(quantisers) > 5
    assert not [o for o in quantisers if "__module.head" in o.get_friendly_name()]
    runner = OpenVinoRunner(tmp_path / "int8", "int8")
    own = rows_of(runner, store.read, store.ids)
    # The statistics come from noise, so the test only asks that each row is nearest to its own.
    assert np.array_equal((own @ rows.T).argmax(1), np.arange(18))
    assert np.array_equal(own[5], rows_of(runner, store.read, [store.ids[5]])[0])
