"""The search of an index, the fastest exact one that this machine has."""

from atlas.artifacts import EmbeddingSet
from engine.products import Bfloat16Proposals, products_pay
from index.nearest import flat_proposals
from index.vector_index import VectorIndex, build_index


def search_of(embeddings: EmbeddingSet) -> VectorIndex:
    """Answers are the same whatever proposes."""
    pays = products_pay(len(embeddings.ids))
    return build_index(embeddings, Bfloat16Proposals if pays else flat_proposals)
