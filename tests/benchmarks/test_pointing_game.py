"""Maps point at the drawn protein of their label."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from atlas.dataset.hpa import HPA_LABELS
from atlas.synthetic.drawn_plan import Antibody, Drawing
from atlas.training.layers import rotated_view
from benchmarks.pointing_game import (
    Questions,
    by_label,
    hits_of,
    questions_of,
    rivals,
    widened,
)
from classify.activation_maps import activation_maps
from classify.classifier import Classifier
from classify.recipes import RECIPES
from tests.classify.networks.made import STORED, made

PLACES = ("Nucleoplasm", "Nucleoli", "Golgi apparatus", "Plasma membrane")


def test_a_hit_by_hand() -> None:
    place = np.zeros((40, 40), bool)
    place[10, 10] = True
    places = np.stack([widened(place, 0.05)] * 4)  # 2 px
    assert places[0].sum() == 17  # a disc of radius 2
    maps = np.zeros((4, 40, 40), np.float32)
    maps[0, 12, 10], maps[1, 13, 10], maps[2, 0, 0], maps[2, 10, 9] = 1, 1, 0.9, 1
    assert hits_of(maps, places).tolist() == [True, False, True, False]


def test_rivals_by_hand() -> None:
    images = np.zeros((2, 4, 20, 20), np.uint8)
    images[:, 1, 3, 4] = 200
    places = np.zeros((2, 20, 20), bool)
    places[0, 3, 4], places[1, 10, 10] = True, True
    found = rivals(
        Questions(images_NCHW=images, places_NHW=places, labels_N=np.array([5, 6], np.int64))
    )
    assert found["random point"].tolist() == [1 / 400, 1 / 400]
    assert found["middle"].tolist() == [False, True]
    assert found["brightest green"].tolist() == [True, False]


def drawings(first_seed: int, each: int) -> list[Drawing]:
    """Fields of different antibodies, each of one label."""
    labels = [HPA_LABELS.index(name) for name in PLACES] * each
    return [
        Drawing(
            id=str(seed),
            split="train",
            antibody=Antibody(name="", seed=seed, labels=(label,)),
            field_seed=0,
        )
        for seed, label in enumerate(labels, start=first_seed)
    ]


def trained(learned: Questions, numbers: list[int], *, epochs: int) -> Classifier:
    """The smoke recipe on images in all flips and rotations, for these labels."""
    torch.manual_seed(0)
    settings = replace(RECIPES["smoke"], weights="none")
    network = made(settings, labels=len(numbers)).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    images = torch.from_numpy(learned.images_NCHW)
    targets = torch.from_numpy(learned.labels_N[:, None] == np.array(numbers)).float()
    for epoch in range(epochs):
        for part in torch.randperm(len(images)).split(16):
            view = rotated_view(images[part], (epoch + int(part[0])) % 8)
            loss = functional.binary_cross_entropy_with_logits(network(view), targets[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return Classifier(
        network=network, settings=settings, channels=STORED, labels=PLACES, image_size_px=64,
        started_from="", weights_hash="",
    )  # fmt: skip


@pytest.mark.slow
def test_maps_point_at_the_protein_far_more_often_than_chance() -> None:
    numbers = [HPA_LABELS.index(name) for name in PLACES]
    learned = questions_of(drawings(0, 80), size_px=64)
    asking = questions_of(drawings(10_000, 25), size_px=64)
    classifier = trained(learned, numbers, epochs=20)
    labels = [numbers.index(label) for label in asking.labels_N]
    maps = activation_maps(classifier, asking.images_NCHW, labels)
    table = by_label(asking, {"maps": hits_of(maps, asking.places_NHW), **rivals(asking)})
    assert (table["n"] == 25).all()
    assert table["maps"].mean() > table["random point"].mean() + 0.35
    assert (table["maps"] > table["random point"] + 0.2).all()
