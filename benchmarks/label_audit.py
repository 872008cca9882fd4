"""How well the label audit finds labels that were flipped in memory; nothing is written.

A flipped image gets the labels of a random image with another label set. For comparison there is a
plain vote: the largest share of the neighbours' weight (cosine) that contradicts a label.
Run: python benchmarks/label_audit.py --data D --index R/index --share 0.05 --seed 0
"""

from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from atlas.dataset.artifacts import Neighbours, positions_of
from atlas.dataset.metrics import label_matrix
from atlas.dataset.splits.hold_out import kin_of
from atlas.workflows.embed.index import open_atlas_index
from index.audit.label_trial import AuditTrial, flip_labels, measured, try_audit
from index.search.open_search import open_search


def main(data: Path, index: Path, share: float = 0.05, seed: int = 0, k: int = 40) -> None:
    """Print what each way finds; `kin unknown` is the audit of a table without Identity."""
    manifest, opened = open_atlas_index(data, index)
    neighbours = open_search(opened).vectors.search(opened.embeddings, k)
    count = len(manifest.spec.labels)
    table = Table("way", "found of flipped (precision = recall)", "average precision")
    kins = {"audit": kin_of(manifest), "audit, kin unknown": {}}
    for name, kin in kins.items():
        trial = try_audit(
            neighbours, opened.labels, label_count=count, kin=kin, share=share, seed=seed
        )
        _add(table, name, trial)
    labels, flipped = flip_labels(opened.labels, share=share, seed=seed)
    doubt_N = plain_vote(neighbours, labels, count)
    _add(table, "plain vote", measured(neighbours.query_ids, doubt_N, flipped))
    Console().print(f"{trial.flipped} of {trial.images} images flipped, {k} neighbours")
    Console().print(table)


def plain_vote(
    neighbours: Neighbours, labels: dict[str, tuple[int, ...]], label_count: int
) -> np.ndarray:
    """Return the largest weighted share of neighbours that contradicts a label of an image, N."""
    ids = tuple(labels)
    known_MC = label_matrix([labels[i] for i in ids], label_count).astype(float)
    own_NC = known_MC[positions_of(ids, neighbours.query_ids, what="labels")]
    weight_NK = np.maximum(neighbours.similarity_NK, 0)
    votes_NC = np.zeros(own_NC.shape)
    for weight_N, ids_N in zip(weight_NK.T, neighbours.reference_ids_NK.T, strict=True):
        there = ids_N != ""
        at = positions_of(ids, ids_N[there], what="labels")
        votes_NC[there] += weight_N[there, None] * known_MC[at]
    share_NC = votes_NC / np.maximum(weight_NK.sum(axis=1), 1e-9)[:, None]
    return np.abs(own_NC - share_NC).max(axis=1)


def _add(table: Table, name: str, trial: AuditTrial) -> None:
    table.add_row(name, f"{trial.found:.3f}", f"{trial.average_precision:.3f}")


if __name__ == "__main__":
    tyro.cli(main)
