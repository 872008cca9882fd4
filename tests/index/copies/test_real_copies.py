"""Registration on real copies: true pairs of the benches score above false ones."""

import csv

import numpy as np
import pytest

from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store, native_size_px
from index.copies.registration import register


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(("bench", "copies"), [("hpa_tiles", 48), ("hpa_single", 96)])
def test_true_pairs_stand_clear_of_false_ones(shared, tmp_path, bench, copies):
    data = shared / "benches" / bench
    manifest = read_manifest(data)
    store = fill_store(manifest, tmp_path, size_px=native_size_px(manifest))
    with (data / "truth.csv").open() as file:
        truth = list(csv.DictReader(file))
    fields = dict(zip(store.ids, store.read(store.ids), strict=True))
    train = manifest.of("train").ids
    rng = np.random.default_rng(0)
    true, false = [], []
    for row in truth:
        if row["relation"] == "same_image":
            found = register(fields[row["Id"]], [fields[row["source"]]])
            true += [one.score for one in found]
        else:
            others = [fields[str(i)] for i in rng.choice(train, 4, replace=False)]
            false += [one.score for one in register(fields[row["Id"]], others)]
    assert len(true) == copies
    assert min(true) > 6
    assert max(false) < 4
