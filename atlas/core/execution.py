"""Where the long work of a command runs: here, on a Ray cluster, or as a part of a batch system.

All long work passes through `fill_rows` of the row cache, which asks this module who computes the
rows. There is one answer for the process, because the threads of libraries inherit no context; only
`executing` sets it.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

from atlas.core.errors import UserError, install_command, refuse

if TYPE_CHECKING:
    from atlas.core.ray_executor import RayExecutor

P = ParamSpec("P")
R = TypeVar("R")

OWN_CLUSTER = "local"
WAIT_MINUTES = 30.0


@dataclass(frozen=True, kw_only=True)
class Share:
    """One of several shares of the images; an image is in the same share of every stage.

    Attributes:
        number: The number of the share, from 1.
        count: The number of shares.
        wait_minutes: How long a stage waits for the rows of the other shares.
    """

    number: int
    count: int
    wait_minutes: float = 0.0

    def has(self, image_id: str) -> bool:
        """Return whether an image belongs to this share, which follows from its id alone."""
        from atlas.core.files import content_hash

        return int(content_hash(image_id), 16) % self.count == self.number - 1


@dataclass(frozen=True, kw_only=True)
class ExecutionSettings:
    """Settings of where the long work runs; see docs/guides/cluster.md.

    Args:
        executor: What runs the long work: local is this machine, and ray is a Ray cluster.
        ray_address: Address of the head of a Ray cluster, such as 10.0.0.1:6379, or auto for the
            cluster that this machine belongs to. By default, Ray is started on this machine.
        ray_cpus: Number of processor cores of each Ray worker. By default it is the number of cores
            of this machine, or of the smallest node if that has fewer.
        part: Compute only this share of the long work, such as 2/8 for the second of eight. The
            share is kept in the cache folder beside the result, and no result is written.
        wait_minutes: How long a part waits for the rows of the other parts before it ends, if
            nothing new appears. By default it waits for 30 minutes; with 0 it does not wait.
    """

    executor: Literal["local", "ray"] = "local"
    ray_address: str = OWN_CLUSTER
    ray_cpus: int | None = None
    part: str = ""
    wait_minutes: float | None = None

    def __post_init__(self) -> None:
        refuse(self._problems())

    @property
    def share(self) -> Share | None:
        """The share of `part`, or None if everything is computed."""
        if not self.part:
            return None
        number, count = map(int, self.part.split("/"))
        waits = WAIT_MINUTES if self.wait_minutes is None else self.wait_minutes
        return Share(number=number, count=count, wait_minutes=waits)

    def _problems(self) -> Iterator[str]:
        if self.part:
            found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", self.part)
            if not found or not 1 <= int(found[1]) <= int(found[2]):
                yield f"--part must be a number and a count, such as 2/8 (got {self.part})"
            if self.executor != "local":
                yield f"--part is run by --executor local; omit one of them (got {self.executor})"
        if self.wait_minutes is not None and self.wait_minutes < 0:
            yield f"--wait-minutes must not be negative (got {self.wait_minutes:g})"
        if self.wait_minutes is not None and not self.part:
            yield "--wait-minutes applies to --part only; omit it"
        if self.ray_cpus is not None and self.ray_cpus < 1:
            yield f"--ray-cpus must be at least 1 (got {self.ray_cpus})"
        if self.executor == "local" and (self.ray_cpus or self.ray_address != OWN_CLUSTER):
            yield "--ray-address and --ray-cpus apply to --executor ray only; omit them"
        if "://" in self.ray_address:
            yield (
                f"--ray-address must be HOST:PORT, auto or local (got {self.ray_address}); run the "
                "command on a machine of the cluster"
            )


LOCAL = ExecutionSettings()


class PartEndedError(Exception):
    """A run with `--part` has done what it can. This is no failure; its text says what is next."""


_share: Share | None = None
_cluster: "RayExecutor | None" = None


def current_share() -> Share | None:
    """Return the share that this command computes, or None if it computes everything."""
    return _share


def current_cluster() -> "RayExecutor | None":
    """Return the Ray cluster that computes rows, or None if this process does."""
    return _cluster


def whole_and_here() -> bool:
    """Return whether this process computes all rows, so that stages may overlap."""
    return _share is None and _cluster is None


def end_part() -> None:
    """End a run with `--part` before it writes a result.

    Raises:
        PartEndedError: Only a share is computed.
    """
    if _share is not None:
        raise PartEndedError(
            f"Part {_share.number}/{_share.count} is done, and so are all other parts; run the "
            "same command without --part to write the result."
        )


@contextmanager
def executing(settings: ExecutionSettings, *, shared: Path, inputs: Path) -> Iterator[None]:
    """Run the long work of the block where the settings say.

    The default settings change nothing, so a command may call functions of other commands.

    Args:
        settings: The settings.
        shared: The folder in which rows are kept; workers of a cluster must see it.
        inputs: The data folder, which they must see, too.

    Raises:
        UserError: Ray is not installed, the cluster cannot be reached, or a worker does not see
            these folders.
    """
    global _share, _cluster
    if settings == LOCAL:
        yield
        return
    before = _share, _cluster
    _share = settings.share
    try:
        if settings.executor == "ray":
            with _ray(settings, shared, inputs) as _cluster:
                yield
        else:
            yield
    finally:
        _share, _cluster = before


def executes(*, out: str = "out", data: str = "data") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for functions that have the argument `execution`; see `executing`.

    Args:
        out: The name of the argument that is the path of the result.
        data: The name of the argument that is the path of the images.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def elsewhere(*args: P.args, **kwargs: P.kwargs) -> R:
            from atlas.core.row_cache import cache_folder  # which imports this module

            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            places = bound.arguments
            with executing(
                places["execution"],
                shared=cache_folder(Path(places[out]).resolve()),
                inputs=Path(places[data]),
            ):
                return function(*args, **kwargs)

        return elsewhere

    return decorate


@contextmanager
def _ray(settings: ExecutionSettings, shared: Path, inputs: Path) -> "Iterator[RayExecutor]":
    if find_spec("ray") is None:
        raise UserError(
            f"--executor ray needs Ray, which is not installed; {install_command('ray')} installs "
            "it"
        )
    from atlas.core.ray_executor import RayExecutor  # loads Ray, which takes a second

    with RayExecutor(
        address=settings.ray_address, cpus=settings.ray_cpus, shared=shared, inputs=inputs
    ) as cluster:
        yield cluster
