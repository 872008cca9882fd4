import cv2
import numpy as np

from atlas.report.evaluation_plots import (
    CELLS_ACROSS,
    NAMED_COLOURS,
    SimilarityPanel,
    cells_with_images,
    class_colours,
    on_unit_square,
    save_embedding_map,
    save_similarity_histogram,
)
from atlas.report.figures import shortened
from atlas.report.picture_pairs import Confusion, save_confusions

RED = np.tile(np.array([1.0, 0.0, 0.0], np.float32), (8, 8, 1))
BLUE = RED[:, :, ::-1]


def share_of(path, *, blue_green_red: tuple[int, int, int]) -> float:
    return float((cv2.imread(str(path)) == blue_green_red).all(axis=2).mean())


def panel(threshold: float, title: str = "open") -> SimilarityPanel:
    rng = np.random.default_rng(0)
    return SimilarityPanel(
        title=title,
        same=rng.normal(0.7, 0.1, 300).astype(np.float32),
        different=rng.normal(0.1, 0.1, 900).astype(np.float32),
        threshold=threshold,
    )


def test_each_protocol_has_a_panel_that_shows_its_threshold(tmp_path) -> None:
    save_similarity_histogram(tmp_path / "one.png", [panel(0.4)])
    save_similarity_histogram(tmp_path / "again.png", [panel(0.4)])
    save_similarity_histogram(tmp_path / "other.png", [panel(0.5)])
    save_similarity_histogram(tmp_path / "two.png", [panel(0.4), panel(0.4, "test")])
    one, again, other, two = (
        (tmp_path / f"{name}.png").read_bytes() for name in ("one", "again", "other", "two")
    )
    assert one == again != other
    heights = [cv2.imread(str(tmp_path / f"{name}.png")).shape[0] for name in ("one", "two")]
    assert heights[1] > 1.5 * heights[0]
    assert len(two) > len(one)


def test_pairs_with_a_single_cosine_are_drawn(tmp_path) -> None:
    alike = np.ones(20, np.float32)
    flat = SimilarityPanel(title="flat", same=alike, different=alike, threshold=1.0)
    save_similarity_histogram(tmp_path / "flat.png", [flat])
    assert (tmp_path / "flat.png").exists()


def test_confusions_are_in_pairs_and_rows(tmp_path) -> None:
    confusion = Confusion(
        query=RED, query_id="q", query_class="x", nearest=BLUE, nearest_id="n", nearest_class="y",
        similarity=0.9,
    )  # fmt: skip
    for count in (1, 4):
        save_confusions(tmp_path / f"{count}.png", [confusion] * count, title="confusions")
    one, four = (cv2.imread(str(tmp_path / f"{count}.png")) for count in (1, 4))
    assert four.shape[0] > 1.5 * one.shape[0]
    red = share_of(tmp_path / "4.png", blue_green_red=(0, 0, 255))
    blue = share_of(tmp_path / "4.png", blue_green_red=(255, 0, 0))
    assert red > 0.1
    assert abs(red - blue) < 0.02


def test_a_cell_shows_the_image_nearest_its_middle() -> None:
    middle = 2.5 / CELLS_ACROSS
    points = np.array([[middle + 0.02, middle], [middle, middle], [0.99, 0.01]], np.float32)
    assert cells_with_images(points) == {(2, 2): 1, (CELLS_ACROSS - 1, 0): 2}


def test_every_image_lies_in_a_cell_of_the_square() -> None:
    points = np.random.default_rng(0).normal(40, 25, (500, 2)).astype(np.float32)
    square = on_unit_square(points)
    assert square.min() > 0
    assert square.max() < 1
    cells = cells_with_images(square)
    assert len(set(cells.values())) == len(cells) <= CELLS_ACROSS**2
    assert all(0 <= c < CELLS_ACROSS for cell in cells for c in cell)


def test_equal_points_are_drawn_in_one_cell() -> None:
    assert len(cells_with_images(on_unit_square(np.ones((5, 2), np.float32)))) == 1


def test_the_most_common_classes_have_their_own_colours() -> None:
    classes = [f"class {n:02d}" for n in range(30)] + ["class 29"] * 3
    colours = class_colours(classes)
    assert next(iter(colours)) == "class 29"
    assert len(colours) == len(set(colours.values())) == len(NAMED_COLOURS)


def test_the_map_requests_only_the_pictures_that_it_shows(tmp_path) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 2)).astype(np.float32)
    asked: list[int] = []

    def picture_of(n: int) -> np.ndarray:
        asked.append(n)
        return RED if n % 2 else BLUE

    classes = [f"class {n % 25}" for n in range(400)]
    save_embedding_map(tmp_path / "map.png", points, classes, picture_of, title="a map")
    assert asked == list(cells_with_images(on_unit_square(points)).values())
    assert share_of(tmp_path / "map.png", blue_green_red=(0, 0, 255)) > 0.02
    assert share_of(tmp_path / "map.png", blue_green_red=(255, 0, 0)) > 0.02


def test_long_names_keep_their_beginning() -> None:
    assert shortened("Nucleoplasm") == "Nucleoplasm"
    assert shortened("x" * 99, 10) == "xxxxxxx..."
