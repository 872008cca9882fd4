"""The prototype of registration in torch against what `find_leaks` computes, pair by pair."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from atlas.synthetic.edits import EDITS, plant, rotated
from benchmarks.gpu import torch_registration
from benchmarks.gpu.torch_registration import TorchRegistration
from index.copies.registration import band_passed, prepare, register_all
from index.settings import RegistrationSettings
from tests.index.copies.test_registration import texture

SETTINGS = replace(RegistrationSettings(), refined_from=2.0)  # nothing is refined


def both(queries: list[np.ndarray], references: list[list[np.ndarray]], device: str) -> tuple:
    """Scores Q x K of the prototype, and those that are expected."""
    asked = [band_passed(field, SETTINGS) for field in queries]
    known = [[band_passed(field, SETTINGS) for field in row] for row in references]
    found = TorchRegistration(SETTINGS, device).scores(
        torch.from_numpy(np.stack(asked)).to(device),
        torch.from_numpy(np.array(known, np.float32)).to(device),
    )
    expected = [
        [one.registration_score for one in register_all(prepare(query, SETTINGS), row, SETTINGS)]
        for query, row in zip(asked, known, strict=True)
    ]
    return found.cpu().numpy(), np.array(expected, np.float32)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("channels", [1, 3])
def test_scores_are_those_of_the_processor(channels: int, device: str) -> None:
    fields = [texture(n, channels=channels) for n in range(4)]
    names = list(EDITS)
    queries = [plant(fields[n % 4], names[n], np.random.default_rng(n)) for n in range(len(names))]
    found, expected = both(queries, [fields] * len(queries), device)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert (found.argmax(1) == np.arange(len(queries)) % 4).all()


def test_blank_fields_and_channels_count_for_nothing() -> None:
    whole = texture(11, channels=3)
    dark, other = whole.copy(), whole.copy()
    dark[1], other[[0, 2]] = 0, 0
    blank = np.zeros_like(whole)
    fields = [whole, dark, other, blank]
    found, expected = both(fields, [fields] * 4, "cpu")
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found[0, 1] > 0.99
    assert found[1, 2] == -1  # no channel that both show
    assert (found[3] == -1).all()


@pytest.mark.parametrize("number", range(8))
def test_rotations_are_numbered_as_edits_number_them(number: int) -> None:
    field = texture(5, channels=2)
    made = torch_registration.rotated(torch.from_numpy(field), number)
    np.testing.assert_array_equal(made.numpy(), rotated(field, number))
