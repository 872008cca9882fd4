from dataclasses import replace

import cv2
import numpy as np

from atlas.report.leak_plots import Curves, save_calibration_plot, save_curves_plot
from atlas.report.pictures import to_rgb


def test_channels_are_shown_in_their_colours_and_dim_ones_are_stretched():
    field = np.zeros((4, 8, 8), np.uint8)
    field[0, :4], field[2, 4:] = 3, 200  # dim red above, bright blue below
    rgb = to_rgb(field, ("red", "green", "blue", "yellow"))
    np.testing.assert_allclose(rgb[0, 0], (1, 0, 0))
    np.testing.assert_allclose(rgb[7, 7], (0, 0, 1))


def test_an_unnamed_channel_is_gray_and_a_blank_one_black():
    ramp = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    rgb = to_rgb(ramp, ("whatever",))
    assert (rgb[:, :, 0] == rgb[:, :, 2]).all()
    assert rgb.max() == 1.0
    assert to_rgb(np.zeros((1, 8, 8), np.uint8), ("gray",)).max() == 0.0


CURVES = Curves(
    scores_T=np.linspace(0, 1, 5),
    confidence_T=np.linspace(0, 1, 5),
    bound_T=np.linspace(0, 0.8, 5),
    recall_T=np.linspace(1, 0, 5),
)


def test_curves_that_differ_are_drawn_differently(tmp_path):
    save_curves_plot(tmp_path / "a.png", curves=CURVES, threshold=0.5)
    bare = replace(CURVES, bound_T=np.zeros(5))
    save_curves_plot(tmp_path / "b.png", curves=bare, threshold=0.5)
    a, b = (cv2.imread(str(tmp_path / name)) for name in ("a.png", "b.png"))
    assert (a != b).any()


def test_the_calibration_plot_shows_the_places_of_the_scores(tmp_path):
    rng = np.random.default_rng(0)
    scores = {"planted": rng.uniform(0.9, 1, 50), "natural": rng.uniform(0, 0.4, 50)}
    for name, threshold in (("a.png", 0.7), ("b.png", 0.2)):
        queries = rng.uniform(0, 1, 9)
        save_calibration_plot(
            tmp_path / name, **scores, queries=queries, curves=CURVES, threshold=threshold
        )
    a, b = (cv2.imread(str(tmp_path / name)) for name in ("a.png", "b.png"))
    assert a.shape == b.shape
    assert (a != b).any()
