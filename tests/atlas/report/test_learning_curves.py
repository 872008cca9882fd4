import cv2
import numpy as np
import pandas as pd
import pytest

from atlas.report.learning_curves import save_class_curves, save_curves, save_embedder_curves


def metrics(*f1: float) -> pd.DataFrame:
    """Return metrics with falling losses and the F1 of each epoch."""
    epochs = np.arange(len(f1))
    losses = {"train_loss": 1 / (1 + epochs), "validation_loss": 2 / (1 + epochs)}
    return pd.DataFrame({"epoch": epochs, **losses, "validation_macro_f1": f1})


def green(image: np.ndarray) -> np.ndarray:
    """Return where the lines of the right panel are, below its legend."""
    blue, middle, red = (image[:, :, c].astype(int) for c in range(3))
    marked = (middle - red > 40) & (middle - blue > 40)
    marked[:, : image.shape[1] // 2] = False
    return marked


def curves(tmp_path, runs: dict[str, pd.DataFrame]) -> np.ndarray:
    save_curves(tmp_path / "curves.png", runs)
    return cv2.imread(str(tmp_path / "curves.png"))


def test_a_rising_f1_rises_in_the_picture(tmp_path) -> None:
    """F1 is at most 0.6, because the legend is above it."""
    marked = green(curves(tmp_path, {"run": metrics(0.0, 0.3, 0.6)}))
    columns = np.flatnonzero(marked.any(axis=0))
    heights = [np.flatnonzero(marked[:, c]).mean() for c in columns[columns < columns[0] + 350]]
    assert heights[0] - heights[-1] > 50
    assert np.all(np.diff(heights[5:-5]) <= 1)


def test_the_mean_of_folds_is_the_thickest_line(tmp_path) -> None:
    """The mean of 0.1, 0.2 and 0.6 is 0.3, two fifths of the way from the lowest to the highest."""
    runs = {f"fold{n}": metrics(f1, f1, f1) for n, f1 in enumerate((0.1, 0.2, 0.6), 1)}
    marked = green(curves(tmp_path, runs))
    rows = np.flatnonzero(marked[:, marked.shape[1] * 3 // 4])
    lines = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    assert len(lines) == 4
    highest, mean, _, lowest = (line.mean() for line in lines)
    assert max(lines, key=len) is lines[1]
    assert (lowest - mean) / (lowest - highest) == pytest.approx(0.4, abs=0.02)


def test_losses_that_were_not_logged_and_epochs_of_other_folds_may_be_missing(tmp_path) -> None:
    runs = {"fold1": metrics(0.1, 0.2), "fold2": metrics(0.3).drop(columns="train_loss")}
    assert green(curves(tmp_path, runs)).any()


@pytest.mark.parametrize("classes", [1, 3, 9])
def test_every_class_has_a_panel_even_without_images(tmp_path, classes: int) -> None:
    table = pd.DataFrame({"epoch": [0, 1], "threshold": [0.5, 0.4]})
    for n in range(classes):
        table[f"{n} a class"] = [np.nan, np.nan] if n == 1 else [0.1, 0.9]
    path = tmp_path / "classes.png"
    save_class_curves(path, {"run": table})
    first = path.read_bytes()
    blue, middle, red = (cv2.imread(str(path))[:, :, c].astype(int) for c in range(3))
    _, _, stats, _ = cv2.connectedComponentsWithStats(
        ((middle - red > 40) & (middle - blue > 40)).astype(np.uint8), connectivity=8
    )
    lines = sum(width > 50 for width in stats[1:, cv2.CC_STAT_WIDTH])
    assert lines == classes - (classes > 1)
    save_class_curves(path, {"run": table})
    assert path.read_bytes() == first


def test_the_better_embedder_is_the_upper_line_and_begins_at_its_start(tmp_path) -> None:
    losses = {"epoch": [0, 1], "train_loss": [2.0, 1.0]}
    runs = {
        "worse": pd.DataFrame(losses | {"validation_top1": [0.1, 0.2]}),
        "better": pd.DataFrame(losses | {"validation_top1": [0.6, 0.7]}),
    }
    lowest = []
    for number, starts in enumerate(({}, {"worse": 0.0, "better": 0.0})):
        path = tmp_path / f"{number}.png"
        save_embedder_curves(path, runs, starts)
        image = cv2.imread(str(path)).astype(int)
        right = image[image.shape[0] // 4 :, image.shape[1] // 2 :]  # below the legend
        colours = ((180, 119, 31), (14, 127, 255))
        worse, better = (np.nonzero(abs(right - c).sum(axis=2) < 40)[0] for c in colours)
        assert better.min() < worse.min()
        lowest.append(better.max())
    assert lowest[1] > lowest[0] + 50
