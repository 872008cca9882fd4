"""Each edit is stronger from step to step, and keeps the shape of the image."""

import numpy as np
import pytest

from atlas.synthetic.cells import draw_field
from benchmarks.missed_copies import EDITS, markdown, tried

FIELD = draw_field(antibody_seed=0, field_seed=0, labels=(0,), size_px=64)


@pytest.mark.parametrize("name", sorted(EDITS))
def test_an_edit_keeps_the_shape_and_changes_the_image_more_from_step_to_step(name):
    _, edit, strengths = EDITS[name]
    made = [edit(FIELD, strength, np.random.default_rng(0)) for strength in strengths]
    assert all(image.shape == FIELD.shape and image.dtype == np.uint8 for image in made)
    assert all((image != FIELD).mean() > 0.05 for image in made)
    assert len({image.tobytes() for image in made}) == len(made)


def test_the_table_has_a_row_for_each_edit():
    attempts = list(tried("noise", [FIELD]))
    rows = list(markdown(attempts))
    assert len(rows) == 2 + len(EDITS)
    assert next(row for row in rows if "noise" in row).count("counts") == 3
