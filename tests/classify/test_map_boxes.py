import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classify.activation_maps import boxes_of


def test_boxes_by_hand() -> None:
    found = np.zeros((10, 12), np.float32)
    found[1:3, 2:6] = 0.25  # half of the maximum is enough
    found[7, 8], found[8, 9] = 0.5, 0.4  # they touch by a corner
    found[5, 0] = 0.2
    total = 8 * 0.25 + 0.5 + 0.4 + 0.2
    first, second = boxes_of(found, share=0.5, least_area=0.001)
    assert (first.x0, first.y0, first.x1, first.y1, first.peak) == (8, 7, 10, 9, 1.0)
    assert (second.x0, second.y0, second.x1, second.y1, second.peak) == (2, 1, 6, 3, 0.5)
    np.testing.assert_allclose([first.mass, second.mass], [0.9 / total, 2.0 / total], rtol=1e-6)


def test_small_regions_are_left_out_except_for_that_of_the_peak() -> None:
    found = np.zeros((20, 20), np.float32)
    found[3, 3], found[10:14, 10:14], found[0, 19] = 1.0, 0.8, 0.9
    boxes = boxes_of(found, share=0.5, least_area=0.01)
    assert [(box.x0, box.x1) for box in boxes] == [(3, 4), (10, 14)]
    assert len(boxes_of(found, share=0.5, least_area=0)) == 3


def test_an_empty_map_has_no_box() -> None:
    assert boxes_of(np.zeros((8, 8), np.float32), share=0.5, least_area=0) == []


@given(
    arrays(np.float32, (9, 7), elements=st.floats(0, 1, width=32)),
    st.floats(0.05, 1.0),
)
def test_boxes_contain_all_bright_pixels(found: np.ndarray, share: float) -> None:
    boxes = boxes_of(found, share=share, least_area=0)
    inside = np.zeros(found.shape, bool)
    for box in boxes:
        part = found[box.y0 : box.y1, box.x0 : box.x1]
        assert np.isclose(part, box.peak * found.max(), rtol=1e-5, atol=0).any()
        inside[box.y0 : box.y1, box.x0 : box.x1] = True
    if found.max() > 0:
        assert inside[found >= share * found.max()].all()
        assert boxes[0].peak == 1
    assert sum(box.mass for box in boxes) <= 1 + 1e-6
