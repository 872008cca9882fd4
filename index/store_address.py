"""The address of a vector store: a Milvus server with a collection, or a folder of Milvus Lite.

Standard library only, because settings check addresses and `--help` reads settings.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from atlas.core.errors import UserError

SERVER = "milvus://"
LOCAL_ENDING = ".db"  # by which the client recognises a folder of Milvus Lite
LOCAL_COLLECTION = "vectors"
_ON_SERVER = re.compile(r"milvus://(?P<host>[^/:@?#\s]+)(:(?P<port>\d{1,5}))?/(?P<name>\w+)")
_PORT = "19530"


@dataclass(frozen=True, kw_only=True)
class StoreAddress:
    """Where a collection of vectors is.

    Attributes:
        text: The address as a user gives it; a path is absolute.
        uri: What the client connects to.
        collection: The name of the collection.
        folder: The folder of Milvus Lite; None for a server.
    """

    text: str
    uri: str
    collection: str
    folder: Path | None

    def __str__(self) -> str:
        return self.text


def parse_address(text: str) -> StoreAddress:
    """Return the address that a text names.

    Raises:
        UserError: The text is neither the address of a server nor the path of a store.

    Example:
        >>> parse_address("milvus://vectors.example/fields").uri
        'http://vectors.example:19530'
    """
    if found := _ON_SERVER.fullmatch(text):
        if found["name"][0].isdigit() or not found["name"].isascii():
            raise UserError(
                f"--store {text}: a collection is named by letters, digits and underscores and "
                "does not start with a digit"
            )
        uri = f"http://{found['host']}:{found['port'] or _PORT}"
        return StoreAddress(text=text, uri=uri, collection=found["name"], folder=None)
    if text.endswith(LOCAL_ENDING) and "://" not in text:
        folder = Path(text).resolve()
        return StoreAddress(
            text=str(folder), uri=str(folder), collection=LOCAL_COLLECTION, folder=folder
        )
    raise UserError(
        f"--store must be {SERVER}HOST:PORT/COLLECTION or a path that ends in {LOCAL_ENDING} "
        f"(got {text})"
    )
