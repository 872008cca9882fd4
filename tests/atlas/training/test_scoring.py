from pathlib import Path

import torch

from atlas.training.loaders import training_loader, validation_loader
from atlas.training.scoring import START_BATCHES, measure_batchnorm, score, start_score
from tests.atlas.training.made import COUNT, SIZE_PX, TRAINING, TinyModule
from tests.atlas.training.stores import tiny_store


def test_the_start_is_scored_with_measured_statistics_and_the_module_is_not_changed(
    tmp_path: Path,
) -> None:
    store = tiny_store(tmp_path, count=COUNT, channels=1, size_px=SIZE_PX)
    targets = torch.linspace(0, 1, COUNT)
    loaders = (
        training_loader(store, store.ids, targets, TRAINING),
        validation_loader(store, store.ids, targets, TRAINING),
    )
    module = TinyModule(TRAINING)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    found = start_score(module, *loaders, training=TRAINING, monitor="error")
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert found == start_score(module, *loaders, training=TRAINING, monitor="error")
    measured = TinyModule(TRAINING)
    measure_batchnorm(measured.network, loaders[0], TRAINING, batches=START_BATCHES)
    assert found == score(measured, loaders[1], TRAINING, "error")
    assert found != score(module, loaders[1], TRAINING, "error")
