import base64

import cv2
import numpy as np

from atlas.report.leak_page import difference_uri, sheet_uri, tile_side_px
from atlas.report.pictures import webp_uri


def decoded(uri: str) -> np.ndarray:
    content = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
    return cv2.imdecode(content, cv2.IMREAD_UNCHANGED).astype(int)


def test_pictures_keep_their_colours_and_opacity() -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:, :, 0], picture[:8, :, 1] = 200, 90
    assert webp_uri(picture, quality=90).startswith("data:image/webp;base64,")
    opacity = np.zeros((16, 16, 1), np.uint8)
    opacity[4:] = 255
    clear = decoded(webp_uri(np.concatenate([picture, opacity], axis=2), quality=90))
    np.testing.assert_array_equal(clear[:, :, 3], opacity[:, :, 0])
    assert np.abs(clear[10, 8, :3] - (0, 0, 200)).max() < 12


def test_a_sheet_has_the_query_above_its_match_and_a_column_for_each_channel() -> None:
    query, match = np.zeros((2, 3, 100, 100), np.uint8)
    query[1], match[2] = 40, 250  # a uniform channel is stretched to white, however dim
    sheet = decoded(sheet_uri(query, match, 48))[:, :, 0]
    assert sheet.shape == (96, 144)
    tiles = sheet.reshape(2, 48, 3, 48).mean(axis=(1, 3))
    white = np.array([[False, True, False], [False, False, True]])
    assert tiles[white].min() > 250
    assert tiles[~white].max() < 5


def test_a_small_image_is_enlarged() -> None:
    field = np.full((1, 20, 20), 9, np.uint8)
    assert decoded(sheet_uri(field, field, 64)).shape[:2] == (128, 64)


def test_differences_are_white_from_two_standard_deviations_on_and_transparent_for_nan() -> None:
    columns = np.array([0.0, 1.0, 2.0, 7.0], np.float32)
    difference = np.repeat(np.repeat(columns[None], 64, axis=0), 16, axis=1)
    difference[32:] = np.nan
    shown = decoded(difference_uri(difference))
    middles = shown[16, 8::16, 0]
    np.testing.assert_allclose(middles, [0, 128, 255, 255], atol=12)
    assert (shown[:32, :, 3] == 255).all()
    assert (shown[32:, :, 3] == 0).all()


def test_tiles_shrink_with_the_number_of_claims() -> None:
    assert tile_side_px(300, 4) == 96
    assert tile_side_px(5000, 4) == 64
    sides = [tile_side_px(count, 4) for count in range(0, 40_000, 1000)]
    assert sides == sorted(sides, reverse=True)
    assert tile_side_px(10**6, 4) == min(sides)
