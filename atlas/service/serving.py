"""A server on this machine, which runs in a thread until the command is stopped."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from atlas.core.errors import UserError
from atlas.service.limits import ImpatientProtocol

HOST = "127.0.0.1"
MOST_CONNECTIONS = 500
ENDING_S = 0.5  # the time that answers have to be finished after Ctrl-C
POLLED_S = 0.02


def listening(port: int, host: str = HOST) -> socket.socket:
    """Return a socket that listens, by default on this machine alone.

    Args:
        port: The port, or 0 for any free one.
        host: The address of this machine on which it listens.

    Raises:
        UserError: The port is out of range, in use, or not allowed, or the address is none of this
            machine.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port must be from 0 to 65535 (got {port})")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise UserError(f"--host {host} is no address ({error.strerror})") from error
    opened = socket.socket(family, socket.SOCK_STREAM)
    # The port of a server that has just ended may be used again.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen()
    except OSError as error:
        opened.close()
        raise UserError(
            f"port {port} of {host} cannot be used ({error.strerror}); give another --port, or "
            "--port 0 for any free one"
        ) from error
    return opened


def address_of(listener: socket.socket) -> str:
    """Return the address of the page that a socket serves."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


@contextmanager
def served(app: FastAPI, listener: socket.socket) -> Iterator[threading.Thread]:
    """Serve an application while the block runs, and yield the thread that does so.

    Signals reach the main thread, so Ctrl-C raises KeyboardInterrupt in the block.

    Raises:
        UserError: The server does not start.
    """
    config = uvicorn.Config(
        app, log_level="error", access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=1, http=ImpatientProtocol, ws="none",
        limit_concurrency=MOST_CONNECTIONS,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise UserError(f"the server at {address_of(listener)} did not start")
            time.sleep(POLLED_S)
        yield thread
    finally:
        server.should_exit = True
        thread.join(ENDING_S)
