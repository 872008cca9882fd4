import numpy as np

from atlas.artifacts import Neighbours
from index.trials import PLANTED_EDITS, edit_of, plant_copies, sample_ids, source_of, sources_only


def read(ids):
    """A field that its id decides, uint8 N x 1 x 32 x 32."""
    return np.stack(
        [np.random.default_rng(int(i)).integers(0, 255, (1, 32, 32), dtype=np.uint8) for i in ids]
    )


def test_planted_copies_are_the_same_whenever_they_are_read():
    copies = plant_copies([str(n) for n in range(20)], read, count=50, seed=1)
    one_by_one = np.concatenate([copies.read([i]) for i in copies.ids])
    np.testing.assert_array_equal(copies.read(copies.ids), one_by_one)
    other = plant_copies([str(n) for n in range(20)], read, count=50, seed=2)
    assert other.ids != copies.ids


def test_every_image_is_planted_before_any_is_again_and_edits_are_even():
    copies = plant_copies([str(n) for n in range(16)], read, count=32, seed=0)
    assert sorted({source_of(i) for i in copies.ids[:16]}) == sorted(str(n) for n in range(16))
    counts = [sum(edit_of(i) == edit for i in copies.ids) for edit in PLANTED_EDITS]
    assert set(counts) == {4}
    assert len(set(copies.ids)) == 32


def test_a_small_atlas_gives_as_many_as_it_has():
    copies = plant_copies(["1", "2"], read, count=1000, seed=0)
    assert len(copies.ids) == 2 * len(PLANTED_EDITS)


def test_only_the_source_is_kept_of_the_candidates():
    found = sources_only(
        Neighbours(
            query_ids=("crop:a", "crop:b"),
            reference_ids_NK=np.array([["x", "a"], ["x", "y"]], dtype=object),
            similarity_NK=np.array([[0.9, 0.8], [0.7, 0.6]], np.float32),
        )
    )
    assert found.reference_ids_NK.tolist() == [["a"], [""]]
    np.testing.assert_allclose(found.similarity_NK, [[0.8], [-np.inf]])


def test_samples_keep_order_and_size():
    ids = [f"{n:03d}" for n in range(100)]
    sample = sample_ids(ids, count=10, seed=0)
    assert list(sample) == sorted(sample)
    assert len(set(sample)) == 10
    assert sample_ids(ids, count=1000, seed=0) == tuple(ids)
