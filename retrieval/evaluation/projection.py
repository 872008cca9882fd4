"""Embeddings on a plane, for the eye. Axes: N vectors, D dimensions."""

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

PERPLEXITY = 30.0
FEWEST_VECTORS = 10


def on_a_plane(vectors_ND: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    """t-SNE by cosine (van der Maaten & Hinton 2008): float32 N x 2, of at least ten vectors.

    Who lies beside whom means something; distances between far groups and their sizes do not.
    """
    tsne = TSNE(
        perplexity=min(PERPLEXITY, (len(vectors_ND) - 1) / 3),
        metric="cosine",
        init="pca",
        random_state=seed,
    )
    # A thousand short steps: threads wait for one another for longer than they work.
    with threadpool_limits(limits=1):
        return np.asarray(tsne.fit_transform(vectors_ND), np.float32)
