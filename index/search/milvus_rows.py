"""The rows of a collection of vectors in Milvus: reading, writing, and the record of what they are.

Every call may be repeated, so a server that was started again loses nothing; see `ask`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from atlas.core.errors import ProvenanceError
from atlas.core.progress import progress
from atlas.dataset.artifacts import EmbeddingSet
from index.search.milvus_client import ask
from index.search.milvus_collection import CollectionFacts, facts_of, mark, row_of
from index.store_address import StoreAddress

if TYPE_CHECKING:
    from pymilvus import MilvusClient

ROWS_AT_ONCE = 1000
LISTED_AT_ONCE = 10_000


class CollectionRows:
    """The rows of a collection, by their stored names.

    Args:
        client: The client of the store.
        store: The address of the collection.
        facts: What the collection says about itself.
    """

    def __init__(self, client: "MilvusClient", store: StoreAddress, facts: CollectionFacts) -> None:
        self.store, self.facts = store, facts
        self._client = client

    def count(self) -> int:
        """Return the number of rows."""
        return int(self.read("query", output_fields=["count(*)"])[0]["count(*)"])

    def read(self, call: str, **options: Any) -> Any:
        """Return what a call of the client reads.

        Args:
            call: The name of the method.
            options: Its arguments, without the name of the collection.
        """

        def ready() -> Any:
            self._client.load_collection(self._name)  # a server that was started again forgets it
            # With a weaker consistency, rows that were deleted may come back.
            return getattr(self._client, call)(self._name, **options, consistency_level="Strong")

        return ask(self.store, ready)

    def fetched(self, names: Sequence[str], *fields: str) -> Iterator[dict[str, Any]]:
        """Yield fields of those rows of these names that there are."""
        for some in parts_of(names, ROWS_AT_ONCE):
            yield from self.read("get", ids=list(some), output_fields=list(fields))

    def checksums(self) -> Iterator[tuple[str, str]]:
        """Yield the name and checksum of each row."""
        if not self.count():
            return
        rows = self.read(
            "query_iterator", batch_size=LISTED_AT_ONCE, output_fields=["id", "checksum"]
        )
        while part := ask(self.store, rows.next):
            yield from ((row["id"], row["checksum"]) for row in part)
        rows.close()

    def write(
        self,
        embeddings: EmbeddingSet,
        places: Sequence[int],
        splits: Mapping[str, str],
        identities: Mapping[str, str | None],
    ) -> None:
        """Write the rows at these places of a set, in place of those with the same ids."""
        if not len(places):
            return
        with progress("storing vectors", total=len(places), unit="vectors") as shown:
            for some in parts_of(places, ROWS_AT_ONCE):
                rows = list(rows_of(embeddings, some, splits, identities))
                ask(self.store, self._client.upsert, self._name, rows)
                shown.update(len(some))

    def remove(self, names: Sequence[str]) -> None:
        """Delete the rows of these names."""
        for some in parts_of(names, ROWS_AT_ONCE):
            ask(self.store, self._client.delete, self._name, ids=list(some))

    def flush(self) -> None:
        """Make sure that what was written is on the disk of the store."""
        ask(self.store, self._client.flush, self._name)

    def mark(self, content: str) -> None:
        """Record which vectors the collection holds, or that they are being changed."""
        self.facts = ask(self.store, mark, self._client, self.store, self.facts, content=content)

    def require_unchanged(self) -> None:
        """Check that nobody else has changed the rows since this collection was opened.

        Raises:
            ProvenanceError: Another command has changed them, or is doing so.
        """
        if ask(self.store, facts_of, self._client, self.store) != self.facts:
            raise ProvenanceError(
                f"{self.store} was changed by another command while it was searched; run the same "
                "command again when that one has ended"
            )

    @property
    def _name(self) -> str:
        return self.store.collection


def rows_of(
    embeddings: EmbeddingSet,
    places: Sequence[int],
    splits: Mapping[str, str],
    identities: Mapping[str, str | None],
) -> Iterator[dict[str, Any]]:
    """Yield the rows at these places of a set as they are stored."""
    for place in places:
        image_id, vector_D = embeddings.ids[place], embeddings.vectors_ND[place]
        yield row_of(image_id, vector_D, splits.get(image_id, ""), identities.get(image_id) or "")


def parts_of(items: Any, size: int) -> Iterator[Any]:
    """Yield consecutive parts of a sequence or an array, of at most this size."""
    return (items[start : start + size] for start in range(0, len(items), size))
