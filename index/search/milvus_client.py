"""The connection to a Milvus server or to Milvus Lite, whose errors become one clear line.

A server that is started again interrupts no command: `ask` repeats a call, with growing pauses, as
long as the server is away. This is safe because a call that is repeated changes nothing more; rows
are only written by `upsert`. The client itself repeats calls that the server postpones.
"""

import logging
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from atlas.core.errors import MissingStageError, Stage, UserError, install_command
from atlas.core.lock_file import is_locked
from index.store_address import StoreAddress

if TYPE_CHECKING:
    from pymilvus import MilvusClient

P = ParamSpec("P")
R = TypeVar("R")

TOKEN = "MILVUS_TOKEN"  # the variable that may hold user:password or a token of the server
CONNECTING_S = 10.0
AWAY_S = 300.0  # how long a server may be away while a command runs
LONGEST_PAUSE_S = 10.0
# By default the client pings the server every 10 seconds during a call. The server of Milvus Lite
# takes that for an attack and hangs up if the call is long.
_SELDOM_PINGED = {"grpc.keepalive_time_ms": 360_000}
_LITE_LOCK = "LOCK"  # the file that Milvus Lite keeps locked in its folder
_NEEDED = ("pymilvus", "tenacity", "milvus_lite")


def connect(store: StoreAddress, *, create: bool = False) -> "MilvusClient":
    """Return a client of a store.

    A folder of Milvus Lite stays open until this process ends, and no other process can open it
    before that.

    Args:
        store: The address.
        create: Whether a folder of Milvus Lite is created if it does not exist.

    Raises:
        UserError: The packages are missing, the server does not answer, or the folder is in use.
        MissingStageError: There is no such folder.
    """
    missing = [name for name in _NEEDED[: 2 if store.folder is None else 3] if not find_spec(name)]
    if missing:
        raise UserError(
            f"--store needs packages that are not installed: {', '.join(missing)}; "
            f"{install_command('milvus')} installs them"
        )
    from pymilvus import MilvusClient, MilvusException  # which takes a second

    # They would print the errors that this module turns into one line.
    for name in ("pymilvus", "milvus_lite", "grpc"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if store.folder is not None:
        _prepare_folder(store, create=create)
    try:
        return MilvusClient(
            store.uri,
            token=os.environ.get(TOKEN, ""),
            timeout=CONNECTING_S,
            grpc_options=_SELDOM_PINGED,
        )
    except MilvusException as error:
        raise UserError(_why_not(store, error.message)) from error


def ask(store: StoreAddress, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what a call of the client returns, and repeat the call while the server is away.

    Args:
        store: The store that the client is connected to.
        call: A call that may be repeated.
        args: The arguments of the call.
        kwargs: The named arguments of the call.

    Raises:
        UserError: The server refused the call, or is away for too long. The text names the store.
    """
    import tenacity
    from pymilvus import MilvusException

    repeated = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_away),
        wait=tenacity.wait_exponential(max=LONGEST_PAUSE_S),
        stop=tenacity.stop_after_delay(AWAY_S),
        reraise=True,
    )
    try:
        result: R = repeated(call, *args, **kwargs)
    except MilvusException as error:
        raise UserError(f"{store}: {_first_line(error.message)}") from error
    return result


def _is_away(error: BaseException) -> bool:
    from pymilvus import MilvusException
    from pymilvus.client.types import Status

    return isinstance(error, MilvusException) and error.code == Status.CONNECT_FAILED


def _prepare_folder(store: StoreAddress, *, create: bool) -> None:
    from milvus_lite.server_manager import server_manager_instance

    assert store.folder is not None
    if store.folder.is_file():
        raise UserError(
            f"{store} is a file, and Milvus Lite keeps its vectors in a folder; choose another path"
        )
    if not store.folder.exists():
        # The folder may have been removed while this process had it open.
        server_manager_instance.release_server(store.uri)
        if not create:
            raise MissingStageError(store.folder, Stage.INDEX)
        store.folder.parent.mkdir(parents=True, exist_ok=True)


def _why_not(store: StoreAddress, message: str) -> str:
    if store.folder is None:
        return (
            f"{store} does not answer ({_first_line(message)}); check the address, and that the "
            "server runs"
        )
    if is_locked(store.folder / _LITE_LOCK):
        return (
            f"{store} is open in another process, and Milvus Lite allows only one at a time; wait "
            "until that process ends, or use a Milvus server"
        )
    return (
        f"{store} cannot be opened by Milvus Lite; remove it and run  {Stage.INDEX.command}  again"
    )


def _first_line(message: str) -> str:
    return str(message).strip().partition("\n")[0]
