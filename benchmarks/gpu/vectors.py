"""Vectors for the search, drawn on the device."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from atlas.dataset.artifacts import EmbeddingSet
from benchmarks.gpu.device import Device

Vectors = NDArray[np.float32]
K = 10  # the number of neighbours
SIBLINGS = 6  # vectors around a middle


def siblings(count: int, queries: int, dimension: int, device: Device) -> tuple[Vectors, Vectors]:
    """Return vectors of unit length in groups around common middles, and queries, which are further
    members of the groups. They are drawn on the device, as a million take long elsewhere."""
    rng = torch.Generator(device.kind).manual_seed(0)
    normal = partial(torch.randn, generator=rng, device=device.kind)
    middles = torch.nn.functional.normalize(normal(-(-count // SIBLINGS), dimension))
    of_query = torch.randint(len(middles), (queries,), generator=rng, device=device.kind)

    def around(of: torch.Tensor) -> Vectors:
        noise = 0.6 / dimension**0.5 * normal(len(of), dimension)
        members = torch.nn.functional.normalize(middles[of] + noise)
        return np.asarray(members.cpu().numpy(), np.float32)

    return around(torch.arange(count, device=device.kind) // SIBLINGS), around(of_query)


def named(what: str, vectors_ND: Vectors) -> EmbeddingSet:
    """Return vectors under numbered ids, all of one embedder."""
    ids = tuple(f"{what}{n:07d}" for n in range(len(vectors_ND)))
    return EmbeddingSet(ids=ids, vectors_ND=vectors_ND, provenance={"embedder": "benchmark"})
