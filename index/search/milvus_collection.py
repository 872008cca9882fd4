"""The layout of a collection of vectors in Milvus: its fields, its properties and its index.

A row has the fields id, vector, split, identity and checksum. Texts are stored with percent signs
in place of all characters but ASCII letters, digits and a few others, because expressions of Milvus
have no reliable way to quote them, and because ids that were file names may be no Unicode text.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from atlas.core.checksums import DIGITS, checksum
from atlas.core.errors import ProvenanceError, Stage, UserError
from index.search.milvus_client import ask, connect
from index.settings import StoreKind
from index.store_address import StoreAddress

if TYPE_CHECKING:
    from pymilvus import MilvusClient

LAYOUT = "1"
CHANGING = "changing"  # in place of the hash of the vectors, while they are written
METRIC = "IP"  # the inner product, which is the cosine of vectors of unit length
VECTOR = "vector"
LONGEST_TEXT = 65_535  # of Milvus, in bytes
_PREFIX = "atlas."
_READABLE = " /:+,@=()"  # characters of texts that are stored as they are


@dataclass(frozen=True, kw_only=True)
class IndexKind:
    """How Milvus searches a collection.

    Attributes:
        name: The name of the index in Milvus.
        building: The parameters with which it is built.
        effort: Returns the parameters of a search for a number of candidates.
        exact: Whether all vectors are compared.
    """

    name: str
    building: dict[str, int]
    effort: Callable[[int], dict[str, int]]
    exact: bool = False


KINDS: dict[StoreKind, IndexKind] = {
    "flat": IndexKind(name="FLAT", building={}, effort=lambda _: {}, exact=True),
    "hnsw": IndexKind(
        name="HNSW",
        building={"M": 16, "efConstruction": 200},
        effort=lambda count: {"ef": max(256, count)},
    ),
    "ivf": IndexKind(name="IVF_FLAT", building={"nlist": 256}, effort=lambda _: {"nprobe": 32}),
}


@dataclass(frozen=True, kw_only=True)
class CollectionFacts:
    """What the properties of a collection say about it.

    Attributes:
        embedder, dimension: The fingerprint of the embedder, and the number of dimensions.
        kind: How the collection is searched.
        content: The hash of the vectors, or CHANGING.
        layout, metric: The version of the layout, and how vectors are compared.
    """

    embedder: str
    dimension: int
    kind: StoreKind
    content: str = CHANGING
    layout: str = LAYOUT
    metric: str = METRIC


def open_collection(store: StoreAddress) -> "tuple[MilvusClient, CollectionFacts]":
    """Return a client of a collection that exists, and what the collection says about itself.

    Raises:
        MissingStageError: There is no such folder of Milvus Lite.
        UserError: There is no such collection, or the server does not answer.
        ProvenanceError: It is no collection of this project, or of an earlier version.
    """
    client = connect(store)
    return client, ask(store, _existing, client, store)


def make_collection(
    store: StoreAddress, wanted: CollectionFacts, *, replaces: str | None
) -> "tuple[MilvusClient, CollectionFacts]":
    """Return a client of a collection, which is created if it does not exist.

    Args:
        store: The address of the collection.
        wanted: What the collection has to be.
        replaces: The embedder whose vectors may be removed in favour of those of another one.

    Raises:
        UserError: The server does not answer.
        ProvenanceError: There is a collection of another embedder, or of another program.
    """
    client = connect(store, create=True)
    return client, ask(store, _made, client, store, wanted, replaces)


def facts_of(client: "MilvusClient", store: StoreAddress) -> CollectionFacts:
    """Return what a collection says about itself.

    Raises:
        ProvenanceError: It is no collection of this project, or of an earlier version.
    """
    properties = client.describe_collection(store.collection).get("properties", {})
    found = {
        key.removeprefix(_PREFIX): value
        for key, value in properties.items()
        if key.startswith(_PREFIX)
    }
    if found.get("layout") != LAYOUT or found.get("metric") != METRIC:
        raise ProvenanceError(
            f"{store} is a collection of another program or of another version of this one; choose "
            "another --store, or remove that one"
        )
    return CollectionFacts(**{**found, "dimension": int(found["dimension"])})


def mark(
    client: "MilvusClient", store: StoreAddress, facts: CollectionFacts, *, content: str
) -> CollectionFacts:
    """Record which vectors a collection holds, and return the new facts."""
    facts = replace(facts, content=content)
    client.alter_collection_properties(store.collection, _properties(facts))
    return facts


def row_of(
    image_id: str, vector_D: NDArray[np.float32], split: str, identity: str
) -> dict[str, Any]:
    """Return the row of an image.

    Raises:
        UserError: A text is too long for Milvus.
    """
    texts = {"id": image_id, "split": split, "identity": identity}
    row: dict[str, Any] = {field: stored_name(text) for field, text in texts.items()}
    if long := [field for field in texts if len(row[field]) > LONGEST_TEXT]:
        raise UserError(f"{image_id[:60]}...: the {long[0]} is too long for Milvus")
    return {**row, VECTOR: vector_D, "checksum": checksum(vector_D, *texts.values())}


def stored_name(text: str) -> str:
    """Return a text as it is stored.

    Example:
        >>> stored_name("cats/tom's.png")
        'cats/tom%27s.png'
    """
    return quote(text, safe=_READABLE, errors="surrogateescape")


def name_of(stored: str) -> str:
    """Return the text that `stored_name` has stored."""
    return unquote(stored, errors="surrogateescape")


def _existing(client: "MilvusClient", store: StoreAddress) -> CollectionFacts:
    if not client.has_collection(store.collection):
        raise UserError(f"{store} does not exist; run  {Stage.INDEX.command}  again")
    return facts_of(client, store)


def _made(
    client: "MilvusClient", store: StoreAddress, wanted: CollectionFacts, replaces: str | None
) -> CollectionFacts:
    if client.has_collection(store.collection):
        facts = facts_of(client, store)
        if _fits(facts, wanted):
            return _searched_by(client, store, facts, wanted.kind)
        if facts.embedder != replaces:
            raise ProvenanceError(
                f"{store} holds vectors of {facts.dimension} dimensions by embedder "
                f"{facts.embedder}, and these have {wanted.dimension} by embedder "
                f"{wanted.embedder}; choose another --store, or remove that one"
            )
        client.drop_collection(store.collection)
    _create(client, store, wanted)
    return wanted


def _fits(facts: CollectionFacts, wanted: CollectionFacts) -> bool:
    return (facts.embedder, facts.dimension) == (wanted.embedder, wanted.dimension)


def _properties(facts: CollectionFacts) -> dict[str, str]:
    return {f"{_PREFIX}{name}": str(value) for name, value in asdict(facts).items()}


def _create(client: "MilvusClient", store: StoreAddress, facts: CollectionFacts) -> None:
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=LONGEST_TEXT)
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=facts.dimension)
    for field in ("split", "identity"):
        schema.add_field(field, DataType.VARCHAR, max_length=LONGEST_TEXT)
    schema.add_field("checksum", DataType.VARCHAR, max_length=DIGITS)
    client.create_collection(
        store.collection, schema=schema, consistency_level="Strong", properties=_properties(facts)
    )
    _create_index(client, store, facts.kind)


def _searched_by(
    client: "MilvusClient", store: StoreAddress, facts: CollectionFacts, kind: StoreKind
) -> CollectionFacts:
    """Build another index of a collection if it is not the wanted one."""
    built = client.list_indexes(store.collection, field_name=VECTOR)
    if built and facts.kind == kind:
        return facts
    client.release_collection(store.collection)
    for name in built:
        client.drop_index(store.collection, name)
    _create_index(client, store, kind)
    return mark(client, store, replace(facts, kind=kind), content=facts.content)


def _create_index(client: "MilvusClient", store: StoreAddress, kind: StoreKind) -> None:
    parameters = client.prepare_index_params()
    chosen = KINDS[kind]
    # The client takes the outer dict apart, and Milvus Lite reads nothing but the inner one.
    parameters.add_index(
        VECTOR, index_type=chosen.name, index_name=VECTOR, metric_type=METRIC,
        params={"params": chosen.building},
    )  # fmt: skip
    client.create_index(store.collection, parameters)
