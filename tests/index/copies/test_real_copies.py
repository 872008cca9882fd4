"""Registration on real copies: every true pair of the benches scores above every false one."""

import csv

import numpy as np
import pytest

from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store, native_size_px
from index.copies.registration import band_passed, prepare, register
from index.settings import RegistrationSettings

SETTINGS = RegistrationSettings()


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(("bench", "copies"), [("hpa_tiles", 48), ("hpa_single", 96)])
def test_true_pairs_stand_clear_of_false_ones(shared, tmp_path, bench, copies):
    data = shared / "benches" / bench
    manifest = read_manifest(data)
    store = fill_store(manifest, tmp_path, size_px=native_size_px(manifest))
    with (data / "truth.csv").open() as file:
        truth = list(csv.DictReader(file))
    banded = {
        i: band_passed(field, SETTINGS)
        for i, field in zip(store.ids, store.read(store.ids), strict=True)
    }
    train = manifest.of("train").ids
    rng = np.random.default_rng(0)
    true, false = [], []
    for row in truth:
        query = prepare(banded[row["Id"]], SETTINGS)
        if row["relation"] == "same_image":
            true.append(register(query, banded[row["source"]], SETTINGS).registration_score)
        else:
            others = rng.choice(train, 4, replace=False)
            false += [register(query, banded[str(i)], SETTINGS).registration_score for i in others]
    assert len(true) == copies
    assert min(true) > 0.9
    assert max(false) < 0.7
