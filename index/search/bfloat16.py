"""Likely neighbours by products in bfloat16, with a bound on all that is left out.

A processor with bfloat16 multiplies about twice as many of these as of float32, and what remains of
the product of two unit vectors is right to within less than .01: enough to choose a few of which
one is the nearest, if exact products of these few are looked at afterwards. Axes: N vectors,
D dimensions, Q queries, M proposals, G groups.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from atlas.training.precision import processor_has_bfloat16
from index.search.proposals import MakePropose, flat_proposals

LEAST_PROPOSALS = 64  # more of them leave fewer neighbours in doubt, and cost little
GROUP = 16  # vectors of which only the best product is sorted at first
SCORE_BYTES = 512 * 2**20  # products that are held at a time
MOST_QUERIES = 2048
OUTPUT_ROUNDING = 2.0**-8  # of a product in bfloat16


def fastest_on_this_processor() -> MakePropose:
    return Bfloat16Proposals if processor_has_bfloat16() else flat_proposals


class Bfloat16Proposals:
    """Proposes positions of vectors on the processor, as `index.search.proposals.Propose` does.

    vectors_ND: float32, of unit length or less.
    """

    def __init__(self, vectors_ND: NDArray[np.float32]) -> None:
        self._vectors_ND, self._count = vectors_ND, len(vectors_ND)
        self._groups = -(-self._count // GROUP)
        dimension = vectors_ND.shape[1]
        self._rounded = torch.zeros((self._groups * GROUP, dimension), dtype=torch.bfloat16)
        self._lost = 0.0  # the longest that a vector lost by rounding
        for start in range(0, self._count, MOST_QUERIES):
            part = torch.from_numpy(vectors_ND[start : start + MOST_QUERIES])
            rounded = self._rounded[start : start + len(part)]
            rounded.copy_(part)
            self._lost = max(self._lost, float((part - rounded.float()).norm(dim=1).max()))
        self._summing = 2.0**-23 * dimension  # as for `flat_proposals`
        self._scores: torch.Tensor | None = None

    def __call__(
        self, queries_QD: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions Q x M, and what the product of no other vector exceeds."""
        wanted = min(max(count, LEAST_PROPOSALS), self._groups)
        if count > wanted:  # fewer groups than proposals asked for: all there are
            return flat_proposals(self._vectors_ND)(queries_QD, count)
        step = max(64, min(MOST_QUERIES, SCORE_BYTES // (2 * len(self._rounded))))
        with torch.inference_mode():
            blocks = [
                self._block(torch.from_numpy(queries_QD[start : start + step]), wanted)
                for start in range(0, len(queries_QD), step)
            ]
        positions, outside = (torch.cat(some).numpy() for some in zip(*blocks, strict=True))
        return positions, outside

    def _block(self, queries_QD: torch.Tensor, wanted: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The best groups hold the best products: others have none above the least of these."""
        rounded = queries_QD.bfloat16()
        scores = self._room(len(rounded))
        torch.mm(rounded, self._rounded.T, out=scores)
        scores[:, self._count :] = -torch.inf  # what fills up the last group
        # A group is every so many-th vector, so that its maximum is one of whole rows.
        by_group = scores.view(len(rounded), GROUP, self._groups)
        _, group_QM = torch.topk(by_group.amax(1), wanted, dim=1, sorted=False)
        members = by_group.gather(2, group_QM[:, None, :].expand(-1, GROUP, -1)).flatten(1)
        best, at = torch.topk(members, wanted, dim=1)
        positions = at // wanted * self._groups + group_QM.gather(1, at % wanted)
        least = best[:, -1].float()
        lost = (queries_QD - rounded.float()).norm(dim=1) + self._lost * (1 + OUTPUT_ROUNDING)
        return positions, least + least.abs() * OUTPUT_ROUNDING + lost + self._summing

    def _room(self, queries: int) -> torch.Tensor:
        """Memory for products, the same again: fresh memory would cost as much as multiplying."""
        if self._scores is None or len(self._scores) < queries:
            shape = (queries, len(self._rounded))
            self._scores = torch.empty(shape, dtype=torch.bfloat16)
        return self._scores[:queries]
