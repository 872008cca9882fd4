import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from atlas.dataset.artifacts import EmbeddingSet
from retrieval.postprocessing.similarity import CosineSimilarities
from retrieval.postprocessing.whitening import class_whitening_of, whiten, whitening_of
from tests.retrieval.postprocessing.reference import unit


def after(whitening: nn.Linear, features: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        return whitening(torch.from_numpy(features)).numpy()


def embeddings(vectors: NDArray[np.floating], **provenance: object) -> EmbeddingSet:
    ids = tuple(f"i{n}" for n in range(len(vectors)))
    return EmbeddingSet(ids=ids, vectors_ND=unit(vectors), provenance=provenance)


def planted(images_each: int, classes: int = 60) -> tuple[NDArray[np.float32], list[int]]:
    """Draw classes that differ in 16 directions and vary four times more in 16 others."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(classes, 32)) * (np.arange(32) < 16)
    noise = rng.normal(size=(classes, images_each, 32)) * np.where(np.arange(32) < 16, 0.5, 2)
    features = (places[:, None] + noise).reshape(-1, 32).astype(np.float32) + 7
    return features, [n for n in range(classes) for _ in range(images_each)]


def nearest_is_of_the_class(images: EmbeddingSet, classes: list[int]) -> float:
    similarity = np.concatenate(
        [block for _, block in CosineSimilarities(queries=images, references=images).blocks()]
    )
    return float(np.mean(np.array(classes)[similarity.argmax(1)] == np.array(classes)))


def test_whitening_makes_the_strong_directions_vary_equally() -> None:
    rng = np.random.default_rng(0)
    spread = np.linspace(1, 5, 40) * (np.arange(40) < 25) + 1e-3
    features = (rng.normal(size=(100, 40)) * spread + 3).astype(np.float32)
    white = after(whitening_of(features), features)
    assert white.shape == (100, 25)  # a direction for every 4 images
    assert np.allclose(np.cov(white.T), np.eye(25), atol=1e-3)
    assert np.allclose(white.mean(0), 0, atol=1e-3)


def test_too_few_images_are_not_whitened() -> None:
    features = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    assert np.array_equal(after(whitening_of(features), features), features)
    assert np.array_equal(after(class_whitening_of(features, [0] * 20), features), features)


def test_class_whitening_makes_classes_round_and_keeps_what_separates_them() -> None:
    features, classes = planted(images_each=20)
    white = after(class_whitening_of(features, classes), features).reshape(60, 20, 32)
    within = (white - white.mean(1, keepdims=True)).reshape(-1, 32)
    variance = np.linalg.eigvalsh(within.T @ within / len(within))
    assert variance.max() / variance.min() < 1.6
    between = white.mean(1).var(0)
    assert between[:16].min() > 5 * between[16:].max()  # strongest directions come first


def test_class_whitening_finds_the_class_where_the_strongest_directions_hide_it() -> None:
    features, classes = planted(images_each=6)
    plain = embeddings(features - features.mean(0))
    learned = whiten(class_whitening_of(plain.vectors_ND, classes), plain)
    assert nearest_is_of_the_class(plain, classes) < 0.3
    assert nearest_is_of_the_class(learned, classes) > 0.8


def test_classes_with_a_single_image_are_ignored() -> None:
    features, classes = planted(images_each=6)
    lone = np.random.default_rng(1).normal(0, 50, size=(30, 32)).astype(np.float32)
    alone = class_whitening_of(features, classes)
    beside = class_whitening_of(np.concatenate([features, lone]), [*classes, *range(100, 130)])
    assert torch.equal(alone.weight, beside.weight)
    assert torch.equal(alone.bias, beside.bias)


def test_whitened_embeddings_have_unit_length_and_a_fingerprint_of_their_own() -> None:
    features, classes = planted(images_each=4)
    plain = embeddings(features, embedder="abc", images="def")
    fits = [whitening_of(plain.vectors_ND), class_whitening_of(plain.vectors_ND, classes)]
    made = [whiten(fitted, plain) for fitted in fits]
    for one in made:
        assert one.ids == plain.ids
        assert np.allclose(np.linalg.norm(one.vectors_ND, axis=1), 1, atol=1e-5)
        assert one.provenance["whitened"] == plain.provenance
    assert len({"abc", *(one.provenance["embedder"] for one in made)}) == 3
    again = whiten(whitening_of(plain.vectors_ND), plain)
    assert again.provenance == made[0].provenance
