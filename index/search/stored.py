"""The search of an index whose vectors are also in a store, for searches beyond one process.

The index folder keeps the vectors: commands that compare all labelled images read them there, and a
store that is lost is filled again from the row cache. `search.json` of the folder names the store
and the vectors that it must hold.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from atlas.core.errors import ProvenanceError, Stage
from atlas.core.files import write_json
from atlas.core.result_files import read_json, understood
from atlas.dataset.artifacts import EmbeddingSet
from index.index_folder import SEARCH_FILE, in_store
from index.search.approximate import NEIGHBOURS, recall_of, sample_queries
from index.search.milvus_collection import KINDS
from index.search.milvus_index import MilvusIndex
from index.search.vector_index import VectorIndex
from index.settings import SearchSettings, StoreKind
from index.store_address import parse_address


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A store that was filled, and how its search did.

    Attributes:
        store: The address of the store.
        kind: How it is searched.
        embedder: The fingerprint of the embedder of its vectors.
        content: The hash of its vectors.
        recall: The share of the exact 10 nearest neighbours that it found.
        queries_per_second: The speed of a search for them, in one process.
    """

    store: str
    kind: StoreKind
    embedder: str
    content: str
    recall: float
    queries_per_second: float

    @property
    def exact(self) -> bool:
        """Whether the store finds every neighbour."""
        return KINDS[self.kind].exact

    @property
    def in_words(self) -> str:
        """What the search reached, as a line for people."""
        found = "all" if self.exact else f"{self.recall:.2%}"
        return (
            f"the search {self.kind} of {self.store} finds {found} of the 10 nearest images, at "
            f"{self.queries_per_second:,.0f} queries/s"
        )


def store_vectors(
    folder: Path,
    embeddings: EmbeddingSet,
    settings: SearchSettings,
    *,
    exact: VectorIndex,
    splits: Mapping[str, str],
    identities: Mapping[str, str | None],
    previous: Path,
) -> Stored:
    """Make a store hold the vectors of an index, and write to the index folder that it does.

    Args:
        folder: The index folder that is being written.
        embeddings: The vectors.
        settings: The settings, which name the store.
        exact: An exact search of the same vectors, which measures the recall.
        splits: The split of each id.
        identities: The identity of each id.
        previous: The index folder that is replaced. If its vectors are in the same store, they may
            be removed in favour of those of another embedder.

    Raises:
        UserError: The store cannot be reached or written.
        ProvenanceError: The store holds something else.
    """
    store = parse_address(str(settings.store))
    before = load_stored(previous)
    embedder = str(embeddings.provenance["embedder"])
    index = MilvusIndex.make(
        store,
        dimension=embeddings.vectors_ND.shape[1],
        embedder=embedder,
        kind=settings.store_kind,
        replaces=before.embedder if before and before.store == store.text else None,
    )
    index.synchronise(embeddings, splits=splits, identities=identities)
    queries = sample_queries(embeddings)
    start = time.perf_counter()
    found = index.search(queries, NEIGHBOURS)
    seconds = time.perf_counter() - start
    stored = Stored(
        store=store.text,
        kind=settings.store_kind,
        embedder=embedder,
        content=index.facts.content,
        recall=recall_of(found, exact.search(queries, NEIGHBOURS)),
        queries_per_second=len(queries.ids) / seconds,
    )
    wanted = asdict(replace(settings, store=store.text))
    write_json(folder / SEARCH_FILE, {"wanted": wanted, "stored": asdict(stored)})
    return stored


def load_stored(folder: Path) -> Stored | None:
    """Return the store of an index folder, or None if its vectors are in no store."""
    if not in_store(folder):
        return None
    path = folder / SEARCH_FILE
    with understood(path, Stage.INDEX):
        return Stored(**read_json(path, stage=Stage.INDEX)["stored"])


def open_stored(folder: Path, stored: Stored) -> MilvusIndex:
    """Open the store of an index folder.

    Raises:
        UserError: The store does not exist, or does not answer.
        ProvenanceError: The store does not hold the vectors of the index.
    """
    index = MilvusIndex.open(parse_address(stored.store))
    if (index.facts.embedder, index.facts.content) != (stored.embedder, stored.content):
        raise ProvenanceError(
            f"{stored.store} does not hold the vectors of {folder}, because they were changed or "
            f"another command is writing them; run  {Stage.INDEX.command}  again"
        )
    return index
