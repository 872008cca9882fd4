"""Vectors to search in: embeddings of random crops of drawn fields, and two kinds at random.

`crops`: a field goes through the pretrained EfficientNet-Lite0 once; a random crop of it is the
mean and the deviation of the network's stages over the crop's part of their maps, reduced to D
dimensions by principal components and brought to unit length. They are kept: a million of them
take a while. `clustered`: six siblings around each of N / 6 middles, which lie in a subspace of 64
dimensions, as embeddings do. `decaying`: no clusters, but a falling spectrum. `spread`: independent
normal numbers, where every neighbour is far and nearly as far as the next.

Axes: N vectors, F features, D dimensions; C x H x W maps.
Run: python benchmarks/vectors.py --count 1000000 --dimension 256 --out crops.npy
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
import tyro
from numpy.typing import NDArray

from atlas.core.files import written_beside
from atlas.core.progress import progress
from atlas.inference.torch_runner import evaluating, on_device
from atlas.synthetic.cells import draw_field
from atlas.synthetic.drawn_plan import plan_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.training.backbones import build_backbone
from atlas.training.stems import widen_stem

FIELD_PX = 256
STAGES = (2, 3, 4)  # of the backbone: 1/8, 1/16 and 1/32 of the side
SIDES = (0.2, 0.7)  # of crops, as shares of the field's
FITTED_ON = 20_000

Vectors = NDArray[np.float32]


def main(
    out: Path, count: int = 1_000_000, dimension: int = 256, fields: int = 2000, seed: int = 0
) -> None:
    """Write the vectors, N x D float32."""
    blocks = []
    with progress("embedding crops", total=fields, unit="fields") as shown:
        for features in crop_features(count, fields, seed):
            blocks.append(features)
            shown.update()
    with written_beside(out) as beside, beside.open("wb") as file:
        np.save(file, reduced(np.concatenate(blocks), dimension))


def crop_features(count: int, fields: int, seed: int) -> Iterator[NDArray[np.float16]]:
    """Return the features of the crops of each field, n x F."""
    settings = DrawnAtlasSettings(identities=-(-fields // 2), fields_per_identity=2, seed=seed)
    drawn = [d for d in plan_atlas(settings)[0] if d.split == "train"][:fields]
    rng = np.random.default_rng(seed)
    network = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=STAGES)
    backbone = build_backbone(
        "tf_efficientnet_lite0", channels=3, stem="scaled", weights="auto", seed=0
    )
    unfilled = network.load_state_dict(backbone.module.state_dict(), strict=False).missing_keys
    assert not unfilled, unfilled
    widen_stem(network, channels=4, stem="scaled")
    shares = np.bincount(np.arange(count) % len(drawn), minlength=len(drawn))
    with evaluating(network) as device, torch.inference_mode():
        for drawing, crops in zip(drawn, shares, strict=True):
            field = draw_field(
                antibody_seed=drawing.antibody.seed, field_seed=drawing.field_seed,
                labels=drawing.antibody.labels, size_px=FIELD_PX,
            )  # fmt: skip
            maps = network((on_device(field[None], device).float() - 40) / 50)
            sides = rng.uniform(*SIDES, crops)
            corners = rng.uniform(0, 1, (crops, 2)) * (1 - sides[:, None])
            pooled = [over_crops(m[0].float().cpu().numpy(), corners, sides) for m in maps]
            yield np.concatenate(pooled, axis=1).astype(np.float16)


def over_crops(
    map_CHW: NDArray[np.float32], corners_N2: NDArray[np.float64], sides_N: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean and deviation of each feature over each crop, by tables of sums, N x 2 C."""
    side = map_CHW.shape[1]
    start = np.floor(corners_N2 * side).astype(int)
    end = np.maximum(np.ceil((corners_N2 + sides_N[:, None]) * side).astype(int), start + 1)
    area = np.prod(end - start, axis=1)

    def mean_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.stack([cv2.integral(plane) for plane in values])
        (top, left), (bottom, right) = start.T, end.T
        total = sums[:, bottom, right] - sums[:, top, right] - sums[:, bottom, left]
        return np.asarray((total + sums[:, top, left]) / area).T

    exact = map_CHW.astype(np.float64)
    mean = mean_of(exact)
    return np.concatenate([mean, np.sqrt(np.maximum(mean_of(exact**2) - mean**2, 0))], axis=1)


def reduced(features_NF: NDArray[np.float16], dimension: int) -> Vectors:
    """Reduce vectors to the principal components of a part of them, at unit length."""
    some = features_NF[:: max(1, len(features_NF) // FITTED_ON)].astype(np.float32)
    middle = some.mean(axis=0)
    _, _, components = np.linalg.svd(some - middle, full_matrices=False)
    vectors = np.empty((len(features_NF), dimension), np.float32)
    for start in range(0, len(vectors), 10_000):
        part = slice(start, start + 10_000)
        vectors[part] = (features_NF[part].astype(np.float32) - middle) @ components[:dimension].T
    return unit(vectors)


def unit(vectors_ND: Vectors) -> Vectors:
    length = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.asarray(vectors_ND / length, np.float32)


def clustered(count: int, queries: int, dimension: int, seed: int = 0) -> tuple[Vectors, Vectors]:
    """Return vectors, and queries that are further siblings."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((64, dimension)).astype(np.float32)
    middles = unit(rng.standard_normal((count // 6 + 1, 64)).astype(np.float32) @ basis)

    def siblings(of: NDArray[np.int64]) -> Vectors:
        noise = rng.standard_normal((len(of), dimension)).astype(np.float32)
        return unit(middles[of] + 0.6 / np.sqrt(dimension) * noise)

    return siblings(np.arange(count) // 6), siblings(rng.integers(0, len(middles), queries))


def decaying(count: int, queries: int, dimension: int, seed: int = 0) -> tuple[Vectors, Vectors]:
    """Return vectors whose standard deviations decrease as 1 / sqrt(n) over the directions."""
    rng = np.random.default_rng(seed)
    deviations = (1 / np.sqrt(np.arange(1, dimension + 1))).astype(np.float32)
    normal = rng.standard_normal((count + queries, dimension)).astype(np.float32)
    rotation = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0].astype(np.float32)
    both = unit((normal * deviations @ rotation).astype(np.float32))
    return both[:count], both[count:]


def spread(count: int, queries: int, dimension: int, seed: int = 0) -> tuple[Vectors, Vectors]:
    rng = np.random.default_rng(seed)
    both = unit(rng.standard_normal((count + queries, dimension)).astype(np.float32))
    return both[:count], both[count:]


if __name__ == "__main__":
    tyro.cli(main)
