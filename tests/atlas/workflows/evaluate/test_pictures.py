import numpy as np

from atlas.workflows.evaluate.pictures import FEWEST_VECTORS, on_a_plane


def test_groups_stay_together_and_equal_seeds_give_equal_maps() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(8)[:3], 20, axis=0) + rng.normal(0, 0.05, (60, 8))
    vectors = (groups / np.linalg.norm(groups, axis=1, keepdims=True)).astype(np.float32)
    points = on_a_plane(vectors, seed=0)
    assert points.shape == (60, 2)
    assert np.array_equal(points, on_a_plane(vectors, seed=0))
    middles = points.reshape(3, 20, 2).mean(axis=1)
    nearest = np.linalg.norm(points[:, None] - middles, axis=2).argmin(axis=1)
    assert nearest.tolist() == np.repeat(range(3), 20).tolist()


def test_few_vectors_are_enough() -> None:
    vectors = np.random.default_rng(0).normal(size=(FEWEST_VECTORS, 4)).astype(np.float32)
    assert np.isfinite(on_a_plane(vectors, seed=1)).all()
