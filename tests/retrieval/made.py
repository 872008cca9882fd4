"""Build small manifests, stores and settings whose identities are easy to distinguish."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from atlas.dataset.manifest import ImageRow, Manifest
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.store import ImageStore
from atlas.training.settings import TrainingSettings
from retrieval.settings import NAMED_LOSSES, SIMILARITY_LOSS, EmbedderSettings
from tests.atlas.training.stores import store_of

SIZE_PX = 32


def settings(**changes: object) -> EmbedderSettings:
    """Return settings of a network that trains in a second."""
    small = EmbedderSettings(
        backbone="resnet10t",
        weights="none",
        dimension=16,
        hidden=32,
        unseen_identity_share=0.0,
        training=TrainingSettings(epochs=3, batch_size=8, learning_rate=3e-3),
    )
    if changes.get("classes") == "label-similarity":
        changes = {"loss": NAMED_LOSSES[SIMILARITY_LOSS], **changes}
    return replace(small, **changes)


def manifest(
    identities: dict[str, str | None],
    *,
    labels: dict[str, tuple[int, ...]] | None = None,
    groups: dict[str, str] | None = None,
) -> Manifest:
    """Return a manifest from identities by id; all rows are labelled, with 0 by default."""
    spec = AtlasSpec(name="made", channels=("c0", "c1"), file_pattern="{id}_{channel}.png",
                     labels=("one", "two", "three"))  # fmt: skip
    rows = tuple(
        ImageRow(
            id=image_id, split="train", files=(), width_px=SIZE_PX, height_px=SIZE_PX,
            labels=(labels or {}).get(image_id, (0,)), identity=identity,
            group=(groups or {}).get(image_id),
        )
        for image_id, identity in identities.items()
    )  # fmt: skip
    return Manifest(spec=spec, rows=rows)


def antibodies(count: int, fields: int) -> dict[str, str | None]:
    return {f"f{a}_{n}": f"antibody{a}" for a in range(count) for n in range(fields)}


def store(folder: Path, identities: dict[str, str | None]) -> ImageStore:
    """Return images in which each identity has a texture and each field its own noise and place."""
    images = {}
    for image_id, identity in identities.items():
        own = np.random.default_rng(sum(map(ord, str(identity or image_id))))
        rng = np.random.default_rng(sum(map(ord, image_id)) + 1000)
        texture = np.kron(own.integers(0, 200, (2, 8, 8)), np.ones((4, 4)))
        shifted = np.roll(texture, rng.integers(0, 32, 2), (1, 2))
        images[image_id] = (shifted + rng.integers(0, 40, shifted.shape)).astype(np.uint8)
    return store_of(folder, images)
