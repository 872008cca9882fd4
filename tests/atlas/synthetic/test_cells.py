import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from atlas.dataset.hpa import HPA_CHANNELS, HPA_LABELS
from atlas.synthetic.cells import draw_field, protein_places
from atlas.synthetic.drawn_plan import plan_atlas
from atlas.synthetic.patterns import PATTERNS
from atlas.synthetic.settings import DrawnAtlasSettings

RED, GREEN, BLUE, YELLOW = range(4)


def fields(label: str, number: int = 8, size_px: int = 64) -> NDArray[np.uint8]:
    """Return images of different antibodies that have one label."""
    labels = (HPA_LABELS.index(label),)
    drawn = [
        draw_field(antibody_seed=seed, field_seed=seed, labels=labels, size_px=size_px)
        for seed in range(number)
    ]
    return np.stack(drawn)


def green_in_nuclei(drawn: NDArray[np.uint8]) -> float:
    """Return the share of green above its haze that lies on blue nuclei and their nucleoli."""
    green = np.clip(drawn[:, GREEN].astype(float) - 22, 0, None)
    blue = (drawn[:, BLUE] > 30).astype(np.uint8)
    closed = [cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) for mask in blue]
    return float(green[np.stack(closed) > 0].sum() / green.sum())


def test_equal_seeds_draw_equal_pixels_and_the_order_of_labels_does_not_matter() -> None:
    first = draw_field(antibody_seed=3, field_seed=5, labels=(0, 21), size_px=64)
    again = draw_field(antibody_seed=3, field_seed=5, labels=(21, 0), size_px=64)
    np.testing.assert_array_equal(first, again)


def test_either_seed_changes_every_channel() -> None:
    first = draw_field(antibody_seed=3, field_seed=5, labels=(25,), size_px=64)
    for other in ({"antibody_seed": 3, "field_seed": 6}, {"antibody_seed": 4, "field_seed": 5}):
        second = draw_field(**other, labels=(25,), size_px=64)
        assert (first != second).mean(axis=(1, 2)).min() > 0.2


@pytest.mark.parametrize("size_px", [32, 64, 100])
def test_every_label_draws_green_and_does_not_change_the_other_stains(size_px: int) -> None:
    seeds = {"antibody_seed": 11, "field_seed": 2, "size_px": size_px}
    bare = draw_field(labels=(), **seeds)
    assert bare.shape == (len(HPA_CHANNELS), size_px, size_px)
    assert bare.dtype == np.uint8
    for label in range(len(HPA_LABELS)):
        drawn = draw_field(labels=(label,), **seeds)
        assert drawn[GREEN].sum() > bare[GREEN].sum(), HPA_LABELS[label]
        np.testing.assert_array_equal(drawn[[RED, BLUE, YELLOW]], bare[[RED, BLUE, YELLOW]])


def test_each_label_has_its_pattern() -> None:
    assert tuple(PATTERNS) == HPA_LABELS
    assert len(set(PATTERNS.values())) == len(HPA_LABELS)


@pytest.mark.parametrize("label", ["Nucleoplasm", "Nuclear speckles", "Nucleoli", "Nuclear bodies"])
def test_nuclear_proteins_lie_in_the_nuclei(label: str) -> None:
    assert green_in_nuclei(fields(label)) > 0.8


@pytest.mark.parametrize("label", ["Plasma membrane", "Cytosol", "Peroxisomes", "Mitochondria"])
def test_cytoplasmic_proteins_lie_outside_the_nuclei(label: str) -> None:
    assert green_in_nuclei(fields(label)) < 0.4


def test_a_second_label_adds_its_pattern() -> None:
    pair = (HPA_LABELS.index("Nucleoplasm"), HPA_LABELS.index("Cytosol"))
    drawn = [draw_field(antibody_seed=s, field_seed=s, labels=pair, size_px=64) for s in range(8)]
    both = green_in_nuclei(np.stack(drawn))
    assert green_in_nuclei(fields("Cytosol")) < both < green_in_nuclei(fields("Nucleoplasm"))


def test_some_nuclei_are_cut_by_the_border() -> None:
    blue = fields("Cytosol", number=20)[:, BLUE] > 40
    rim = np.concatenate([blue[:, 0], blue[:, -1], blue[:, :, 0], blue[:, :, -1]], axis=1)
    assert rim.any(axis=1).mean() > 0.5


def test_all_sizes_show_the_same_cells() -> None:
    large = draw_field(antibody_seed=7, field_seed=1, labels=(0,), size_px=128)[BLUE]
    small = draw_field(antibody_seed=7, field_seed=1, labels=(0,), size_px=64)[BLUE]
    shrunk = large.reshape(64, 2, 64, 2).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.95


def histograms(drawn: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the shares of 32 brightnesses in each channel, N x 128."""
    counts = [[np.bincount(plane.ravel() >> 3, minlength=32) for plane in field] for field in drawn]
    shares = np.array(counts, dtype=np.float64) / drawn[0, 0].size
    return np.asarray(shares.reshape(len(drawn), -1))


@pytest.mark.slow
def test_histograms_alone_do_not_find_the_antibody() -> None:
    train, _ = plan_atlas(DrawnAtlasSettings(identities=500, fields_per_identity=6, seed=0))
    drawn = [
        draw_field(
            antibody_seed=each.antibody.seed,
            field_seed=each.field_seed,
            labels=each.antibody.labels,
            size_px=64,
        )
        for each in train
    ]
    names = np.array([each.antibody.name for each in train])
    vectors, chance = histograms(np.stack(drawn)), 5 / 2999
    for metric in ("cityblock", "euclidean"):
        distances = cdist(vectors, vectors, metric)
        np.fill_diagonal(distances, np.inf)
        top_1 = (names[distances.argmin(axis=1)] == names).mean()
        assert 20 * chance < top_1 < 0.30, metric


def test_the_places_of_a_protein_are_green() -> None:
    """The places of each label are much brighter than the rest of the image."""
    for label, name in enumerate(HPA_LABELS):
        seeds = {"antibody_seed": 5, "field_seed": 3, "labels": (label,), "size_px": 128}
        place, green = protein_places(**seeds)[label], draw_field(**seeds)[GREEN].astype(float)
        assert place.shape == green.shape
        assert 0 < place.mean() < 0.6, name
        assert green[place].mean() > 1.5 * green[~place].mean(), name


def test_each_of_several_labels_has_its_places() -> None:
    """In an image with two labels, the places of both are brighter than the rest."""
    nucleus, membrane = HPA_LABELS.index("Nucleoplasm"), HPA_LABELS.index("Plasma membrane")
    seeds = {"antibody_seed": 5, "field_seed": 3, "labels": (membrane, nucleus), "size_px": 128}
    places, drawn = protein_places(**seeds), draw_field(**seeds)
    assert set(places) == {nucleus, membrane}
    blue = drawn[BLUE] > 40
    assert blue[places[nucleus]].mean() > 0.9
    assert blue[places[membrane]].mean() < 0.3
    nowhere = ~places[nucleus] & ~places[membrane]
    for place in places.values():
        assert drawn[GREEN][place].mean() > 1.5 * drawn[GREEN][nowhere].mean()
