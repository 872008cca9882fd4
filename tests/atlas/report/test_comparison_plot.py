import cv2
import numpy as np
import pandas as pd

from atlas.report.evaluation_plots import save_comparison_plot

METRICS = {"top1": "top-1", "other": "another"}


def picture(tmp_path, runs: list[tuple[str, float]]) -> np.ndarray:
    """Draw runs (kind, figure), and return R x C x blue, green, red, as int."""
    table = pd.DataFrame(runs, columns=["kind", "top1"]).assign(other=0.5)
    save_comparison_plot(tmp_path / "plot.png", table, kind="kind", metrics=METRICS)
    return cv2.imread(str(tmp_path / "plot.png")).astype(int)


def dots(image: np.ndarray) -> np.ndarray:
    """Return where the left panel is blue, without the legend below it."""
    height, width = image.shape[:2]
    blue = image[:, :, 0] - image[:, :, 2] > 40
    blue[int(height * 0.75) :], blue[:, int(width * 0.58) :] = False, False
    return blue


def test_the_mean_is_between_the_runs(tmp_path):
    image = picture(tmp_path, [("a", 0.0), ("a", 0.0), ("a", 1.0)])
    columns = np.flatnonzero(dots(image).any(axis=0))
    row = int(np.flatnonzero(dots(image).any(axis=1)).mean())
    dark = np.flatnonzero(image[row, columns[0] : columns[-1]].max(axis=1) < 60)
    place = dark.mean() / (columns[-1] - columns[0])
    assert abs(place - 1 / 3) < 0.03


def test_kinds_are_in_the_order_of_their_rows(tmp_path):
    for first, second in (("z", "a"), ("a", "z")):
        blue = dots(picture(tmp_path, [(first, 0.0), (second, 1.0)]))
        upper, lower = blue[: len(blue) // 2 - 10], blue[len(blue) // 2 :]
        assert np.flatnonzero(upper.any(axis=0)).max() < np.flatnonzero(lower.any(axis=0)).min()


def test_more_kinds_give_a_taller_picture_and_equal_runs_give_equal_files(tmp_path):
    small = picture(tmp_path, [("a", 0.1), ("b", 0.2)])
    large = picture(tmp_path, [(letter, 0.1) for letter in "abcdefgh"])
    assert large.shape[0] > small.shape[0]
    assert large.shape[1] == small.shape[1]
    before = (tmp_path / "plot.png").read_bytes()
    picture(tmp_path, [(letter, 0.1) for letter in "abcdefgh"])
    assert (tmp_path / "plot.png").read_bytes() == before


def test_unknown_figures_are_left_out(tmp_path):
    image = picture(tmp_path, [("a", np.nan), ("a", 0.5), ("b", np.nan)])
    assert dots(image).any()
