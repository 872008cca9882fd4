"""Likely neighbours by rounded products on a GPU, with a bound on everything that is left out.

A GPU multiplies numbers in float16 many times as fast as float32. The product of two rounded unit
vectors is correct to within 0.002, which is enough to choose a few candidates for the
exact products that decide. Axes: N vectors, D dimensions, Q queries, M proposals, G groups.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from index.search.proposals import Propose, flat_proposals

LEAST_PROPOSALS = 64  # more proposals leave fewer neighbours in doubt and cost little
GROUP = 16  # of so many vectors only the best product is sorted at first
MOST_QUERIES = 2048
SCORE_BYTES = 2 * 2**30  # for products; all vectors are read once for each block of queries
SHARE_OF_FREE_MEMORY = 0.8
# In units of D: 2^-24 for the float32 products that decide, which round to nearest; 2^-22 for sums
# of rounded products, as tensor cores truncate each sum and what they align before it.
SUMMING = 2.0**-24 + 2.0**-22


def first_gpu_proposals(vectors_ND: NDArray[np.float32]) -> Propose:
    """Propose by the first GPU, or by the processor if the GPU has no room for the vectors."""
    if _fits(vectors_ND.shape):
        return TorchProposals(vectors_ND)
    return flat_proposals(vectors_ND)


class TorchProposals:
    """Proposals of positions by rounded products; see `index.search.proposals.Propose`.

    The bound: let q' and v' be a query and a vector after rounding, so that q v = (q - q') v + q'
    (v - v') + q' v'. As no vector is longer than 1, the first term is at most |q - q'|, which is
    measured for each query, and the second at most (1 + u) times the largest |v - v'|, which is
    measured once. u is the unit roundoff of the rounded type. The third is a sum of D products,
    each exact in float32, whose error is at most `SUMMING` times D (Higham, Accuracy and Stability
    of Numerical Algorithms, 2002, equation 3.5; Fasi et al., Numerical behavior of NVIDIA tensor
    cores, PeerJ Computer Science 2021). The sum is rounded once more: by at most u times the
    result, or u times the smallest normal number if the result is smaller. The rounded product of
    whatever is left out is at most that of the last proposal. So the bound is that product plus
    these errors.

    Args:
        vectors_ND: The vectors in float32, of unit length or less.
        device: The device that computes products.
        dtype: The type that vectors are rounded to.
    """

    def __init__(
        self,
        vectors_ND: NDArray[np.float32],
        *,
        device: str = "cuda",
        dtype: torch.dtype = torch.float16,
    ) -> None:
        self._vectors_ND, self._count = vectors_ND, len(vectors_ND)
        self._device, self._dtype = torch.device(device), dtype
        self._groups = -(-self._count // GROUP)
        dimension = vectors_ND.shape[1]
        self._roundoff = torch.finfo(self._dtype).eps / 2
        self._summing = SUMMING * dimension
        self._lost = 0.0  # the longest that a vector lost by rounding
        self._rounded = torch.zeros(
            (self._groups * GROUP, dimension), dtype=self._dtype, device=self._device
        )
        for start in range(0, self._count, MOST_QUERIES):
            part = self._put(vectors_ND[start : start + MOST_QUERIES])
            rounded = self._rounded[start : start + len(part)]
            rounded.copy_(part)
            self._lost = max(self._lost, float((part - rounded.float()).norm(dim=1).max()))
        self._scores: torch.Tensor | None = None

    def __call__(
        self, queries_QD: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return positions (Q x M) and an upper bound on the products of all other vectors (Q)."""
        wanted = min(max(count, LEAST_PROPOSALS), self._groups)
        if count > wanted:  # there are fewer groups than requested proposals
            return flat_proposals(self._vectors_ND)(queries_QD, count)
        room = SCORE_BYTES // (2 * len(self._rounded))
        step = max(64, min(MOST_QUERIES, room))
        with torch.inference_mode(), _sums_in_float32():
            blocks = [
                self._block(self._put(queries_QD[start : start + step]), wanted)
                for start in range(0, len(queries_QD), step)
            ]
        positions, outside = (torch.cat(some).cpu().numpy() for some in zip(*blocks, strict=True))
        return positions, outside

    def _block(self, queries_QD: torch.Tensor, wanted: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the proposals and bounds of one block of queries.

        The best groups contain the best products: no other group has a product above the least of
        these.
        """
        rounded = queries_QD.to(self._dtype)
        scores = self._room(len(rounded))
        torch.mm(rounded, self._rounded.T, out=scores)
        scores[:, self._count :] = -torch.inf  # the padding of the last group
        # A group takes every G-th vector, so that its maximum is computed over whole rows.
        by_group = scores.view(len(rounded), GROUP, self._groups)
        _, group_QM = torch.topk(by_group.amax(1), wanted, dim=1, sorted=False)
        members = by_group.gather(2, group_QM[:, None, :].expand(-1, GROUP, -1)).flatten(1)
        best, at = torch.topk(members, wanted, dim=1)
        positions = at // wanted * self._groups + group_QM.gather(1, at % wanted)
        return positions, self._outside(best[:, -1].float(), queries_QD, rounded)

    def _outside(
        self, least: torch.Tensor, queries_QD: torch.Tensor, rounded: torch.Tensor
    ) -> torch.Tensor:
        """Return the bound of each query, from the rounded product of its last proposal."""
        smallest = torch.finfo(self._dtype).smallest_normal
        output = torch.clamp(least.abs(), min=smallest) * self._roundoff
        lost = (queries_QD - rounded.float()).norm(dim=1) + self._lost * (1 + self._roundoff)
        outside: torch.Tensor = least + output + lost + self._summing
        return outside

    def _put(self, vectors: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(vectors).to(self._device)

    def _room(self, queries: int) -> torch.Tensor:
        """Return memory for products, always the same: allocating costs as much as multiplying."""
        if self._scores is None or len(self._scores) < queries:
            shape = (queries, len(self._rounded))
            self._scores = torch.empty(shape, dtype=self._dtype, device=self._device)
        return self._scores[:queries]


def _fits(shape: tuple[int, ...]) -> bool:
    """Return whether the GPU has room for the rounded vectors and their products."""
    free, _ = torch.cuda.mem_get_info()
    needed = 2 * shape[0] * shape[1] + 2 * SCORE_BYTES
    return needed <= SHARE_OF_FREE_MEMORY * free


@contextmanager
def _sums_in_float32() -> Iterator[None]:
    """Make CUDA's matrix products add partial sums in float32, as the bound assumes."""
    settings = torch.backends.cuda.matmul
    names = (
        "allow_fp16_accumulation",
        "allow_fp16_reduced_precision_reduction",
        "allow_bf16_reduced_precision_reduction",
    )
    before = {name: getattr(settings, name) for name in names}
    try:
        for name in names:
            setattr(settings, name, False)
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)
