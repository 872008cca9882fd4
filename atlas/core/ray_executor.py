"""Rows computed by the workers of a Ray cluster.

Each worker is an actor, which Ray starts, places and restarts on another node if it is lost. This
module hands out parts: a worker has one at a time, and a part that was lost with its worker is
handed out again. The workers write files into the shared folder; the command that started them
reads only the headers of these files, and it alone writes results.
"""

import logging
import os
import secrets
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from atlas.core.errors import DataError, UserError
from atlas.core.parallel import CORES, CORES_VARIABLE
from atlas.core.progress import Progress
from atlas.core.ray_worker import RowWorker, Surroundings, versions
from atlas.core.row_file import open_row_file
from atlas.core.row_work import IdAndKey, Places, RowMaker, RowWork, places_in

LOGGER = logging.getLogger(__name__)

CONNECTS_WITHIN_S = 10.0
STARTS_WITHIN_S = 300.0  # the first worker, which may wait for a machine that is being started
APPEARS_WITHIN_S = 30.0  # a file that another machine wrote; file systems remember what was absent
LOSSES = 5  # how often a part may be lost before the command gives up
PARTS_EACH = 4  # parts of each worker in a stage, so that few wait for the last one
FEWEST_ROWS = 16  # of a part, which is a batch of most networks
OBJECT_STORE_BYTES = 100 << 20  # only ids and places of rows pass through it


@dataclass
class _Part:
    """Rows of one file, and how often they were lost with their worker."""

    names: list[IdAndKey]
    losses: int = 0


class RayExecutor:
    """Compute rows on a Ray cluster; a context manager.

    Args:
        address: The address of the cluster, "auto", or "local" for one on this machine.
        cpus: The number of cores of each worker; by default those of this machine, or of the
            smallest node.
        shared: The folder in which rows are kept.
        inputs: The data folder.

    Raises:
        UserError: The cluster cannot be reached.
    """

    def __init__(self, *, address: str, cpus: int | None, shared: Path, inputs: Path) -> None:
        self._address, self._cpus, self._shared = address, cpus, shared
        token = secrets.token_hex(16)
        self._surroundings = Surroundings(
            folder=Path.cwd(),
            token_file=shared / f".cluster-{token[:8]}",
            token=token,
            inputs=inputs,
            versions=versions(),
        )
        self._pools: dict[bool, _Pool] = {}

    def __enter__(self) -> "RayExecutor":
        """Connect to the cluster."""
        _connect(self._address)
        self._shared.mkdir(parents=True, exist_ok=True)
        self._surroundings.token_file.write_text(self._surroundings.token)
        return self

    def __exit__(self, *error: object) -> None:
        """Disconnect, which ends all workers."""
        with suppress(OSError):
            self._surroundings.token_file.unlink()
        ray.shutdown()

    def fill(
        self,
        work: RowWork,
        missing: Iterable[list[IdAndKey]],
        shown: Progress,
        note: Callable[[Places], None],
    ) -> None:
        """Compute and store rows, see `Executor`.

        Raises:
            DataError: Images cannot be read. The other rows are stored before.
            UserError: No worker can be used, or a part was lost several times.
        """
        names = [name for block in missing for name in block]
        if not names:
            return
        assert isinstance(work.make_rows, RowMaker)
        pool = self._pool(gpu=work.make_rows.uses_gpu and ray.cluster_resources().get("GPU", 0) > 0)
        size = max(FEWEST_ROWS, -(-len(names) // (PARTS_EACH * pool.size)))
        size = min(size, work.rows_per_file)
        parts = deque(
            _Part(names=names[start : start + size]) for start in range(0, len(names), size)
        )
        try:
            _fill(pool, work, parts, shown, note)
        finally:
            pool.abandon()

    def _pool(self, *, gpu: bool) -> "_Pool":
        if gpu not in self._pools:
            self._pools[gpu] = _Pool(_actors(self._cpus, gpu=gpu), self._surroundings)
        return self._pools[gpu]


def _fill(
    pool: "_Pool",
    work: RowWork,
    parts: deque[_Part],
    shown: Progress,
    note: Callable[[Places], None],
) -> None:
    problems: list[DataError] = []
    while parts or pool.running:
        while parts and pool.idle:
            pool.start(work, parts.popleft())
        try:
            for part, path in pool.finished():
                if path is None:
                    parts.append(_lost_again(part))
                else:
                    note(_places(path))
                    shown.update(len(part.names))
        except DataError as error:  # the other parts are computed, and may have problems, too
            problems.append(error)
    if problems:
        raise DataError(problems[0].where, [line for one in problems for line in one.problems])


class _Pool:
    """Workers, and what they are doing."""

    def __init__(self, actors: Sequence[Any], surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self.size = len(actors)
        self.idle: list[Any] = []
        self.running: dict[Any, tuple[Any, _Part]] = {}
        self._coming: dict[Any, Any] = {}
        self._reason = ""
        for actor in actors:
            self._expect(actor)
        self._await_first()

    def start(self, work: RowWork, part: _Part) -> None:
        actor = self.idle.pop()
        sent = work.only([image_id for image_id, _ in part.names])
        self.running[actor.write_file_of.remote(sent, part.names)] = (actor, part)

    def finished(self) -> list[tuple[_Part, Path | None]]:
        """Wait for one worker, and return its part with the written file, or None if it was lost.

        Raises:
            UserError: The worker refused the part; it is ready for another one.
        """
        done, _ = ray.wait([*self.running, *self._coming], timeout=STARTS_WITHIN_S)
        if not done and not self.running:
            raise UserError("no Ray worker is left, and none has started again; see `ray status`")
        found: list[tuple[_Part, Path | None]] = []
        for reference in done:
            if reference in self._coming:
                self._welcome(reference)
                continue
            actor, part = self.running.pop(reference)
            try:
                path = Path(_got(reference))
            except RayTaskError:
                raise
            except RayError as error:
                LOGGER.warning(
                    f"a Ray worker was lost ({_in_a_line(error)}); its {len(part.names)} images "
                    "are given to another one"
                )
                self._expect(actor)
                found.append((part, None))
            except UserError:
                self.idle.append(actor)
                raise
            else:
                self.idle.append(actor)
                found.append((part, path))
        return found

    def abandon(self) -> None:
        """Ignore the results of running parts; their workers are idle again after them."""
        for actor, _ in self.running.values():
            self._expect(actor)
        self.running.clear()

    def _expect(self, actor: Any) -> None:
        """Wait for a worker that starts, or that Ray starts again, without stopping for it."""
        ready = actor.ready.options(max_task_retries=-1)
        self._coming[ready.remote(self._surroundings)] = actor

    def _await_first(self) -> None:
        until = time.monotonic() + STARTS_WITHIN_S
        while not self.idle:
            if not self._coming:
                raise UserError(f"no Ray worker could be started ({self._reason})")
            left_s = max(0.0, until - time.monotonic())
            done, _ = ray.wait([*self._coming], timeout=left_s)
            if not done:
                raise UserError(
                    f"no Ray worker has started within {STARTS_WITHIN_S:.0f} s; `ray status` shows "
                    "what the cluster lacks"
                )
            self._welcome(done[0])

    def _welcome(self, reference: Any) -> None:
        actor = self._coming.pop(reference)
        try:
            host = _got(reference)
        except RayError as error:
            self._reason = _in_a_line(error)
            LOGGER.warning(f"a Ray worker could not be started ({self._reason})")
            return
        LOGGER.debug(f"a Ray worker runs on {host}")
        self.idle.append(actor)


def _connect(address: str) -> None:
    """Connect to a cluster, or start one on this machine.

    Raises:
        UserError: There is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {
            "num_cpus": CORES, "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }  # fmt: skip
    elif address != "auto":
        _require_reachable(address)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise UserError(
            f"--ray-address {address}: the cluster cannot be used ({_in_a_line(error)}); the "
            "command must run on a machine that `ray start` has joined to the cluster"
        ) from error
    finally:
        with suppress(ValueError):  # only the main thread may set it
            signal.signal(signal.SIGTERM, before)  # Ray has set its own


def _require_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"--ray-address must be HOST:PORT, auto or local (got {address})")
    try:
        socket.create_connection((host, int(port)), CONNECTS_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--ray-address {address} cannot be reached within {CONNECTS_WITHIN_S:.0f} s "
            f"({_in_a_line(error)}); `ray start --head` prints the address of a cluster"
        ) from error


def _actors(cpus: int | None, *, gpu: bool) -> list[Any]:
    """Start as many workers as the cluster has room for, with one GPU each if they use any."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    if not cores:
        raise UserError("the Ray cluster has no processor cores; `ray status` shows what it has")
    each = cpus or min(CORES, *cores)
    count = sum(int(node.get("GPU", 0)) for node in nodes) if gpu else sum(n // each for n in cores)
    if not count:
        raise UserError(f"--ray-cpus {each}: no node of the Ray cluster has so many cores")
    # Libraries use as many threads as these variables say. Equal numbers of threads round equally.
    threads = {CORES_VARIABLE: str(each), "OMP_NUM_THREADS": str(each)}
    actor = ray.remote(RowWorker).options(
        num_cpus=0 if gpu else each, num_gpus=1 if gpu else 0, max_restarts=-1,
        scheduling_strategy="SPREAD", runtime_env={"env_vars": threads},
    )  # fmt: skip
    return [actor.remote() for _ in range(count)]


def _got(reference: Any) -> Any:
    """Return the result of a worker, or raise what a user can fix as the worker raised it."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise


def _places(path: Path) -> Places:
    """Return the places of rows in a file that another machine has written."""
    until = time.monotonic() + APPEARS_WITHIN_S
    while True:
        try:
            return places_in(open_row_file(path))
        except FileNotFoundError:
            if time.monotonic() >= until:
                raise UserError(
                    f"{path} was written by a Ray worker and is not visible here; the folder must "
                    "be on storage that all machines share"
                ) from None
            time.sleep(0.2)


def _lost_again(part: _Part) -> _Part:
    part.losses += 1
    if part.losses >= LOSSES:
        raise UserError(
            f"{len(part.names)} images, from {part.names[0][0]} on, were lost {LOSSES} times with "
            "their Ray worker, perhaps because its memory ran out; run the same command again to "
            "resume it"
        )
    return part


def _in_a_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
