"""A part of the check: the process that it runs in, its limit, and what it found.

python -m benchmarks.gpu.part RUN NAME OUT SECONDS [--tiny]

RUN names a function `run(work)`, as `benchmarks.gpu.search:run`. It says what it finds as it goes,
and each of that is on disk at once, so a part that is stopped at its limit, or dies, leaves what it
had found.
"""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal

from atlas.core.files import write_json
from atlas.core.result_files import read_json

if TYPE_CHECKING:
    from benchmarks.gpu.device import Device

State = Literal["waiting", "running", "passed", "failed", "stopped at its limit"]
ROOT = Path(__file__).resolve().parents[2]
SOFT_SHARE = 0.9  # of the limit, by which a part plans its work
POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Part:
    """run: `module:function`. share: of the time, in proportion to the other parts."""

    name: str
    run: str
    share: float


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a part found, so far or in the end.

    processor_s: Seconds of one core, of the part and all processes that it waited for.
    checks: What must hold: whether it does, and in which figures it shows.
    figures: Measurements, by group and name.
    error: One line; empty where nothing went wrong.
    """

    name: str
    state: State = "waiting"
    seconds: float = 0.0
    processor_s: float = 0.0
    limit_s: float = 0.0
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str = ""

    @property
    def line(self) -> str:
        """The part, its state and its time in one line."""
        held = sum(check["passed"] for check in self.checks.values())
        checks = f", {held} of {len(self.checks)} checks hold" if self.checks else ""
        error = f": {self.error}" if self.error else ""
        return f"{self.name}: {self.state} after {self.seconds:.1f} s{checks}{error}"


class Work:
    """What a part works with, and where it says what it found.

    Args:
        name: Of the part.
        out: Folder of the report; what parts share lies in `folder` below it.
        seconds: After which the part should have ended.
        tiny: Whether sizes should suit two cores without a GPU.
    """

    def __init__(self, name: str, out: Path, *, seconds: float, tiny: bool) -> None:
        self.out, self.folder, self.tiny = out, out / "work", tiny
        self._began = time.monotonic()
        self._ends = self._began + SOFT_SHARE * seconds
        self._path = finding_path(out, name)
        self._finding = Finding(name=name, state="running", limit_s=seconds)
        self._write()

    @cached_property
    def device(self) -> "Device":
        """What is measured."""
        from benchmarks.gpu.device import Device  # loads torch, which takes seconds

        return Device.of_this_machine()

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._ends - time.monotonic())

    def found(self, group: str, **figures: Any) -> None:
        """Add figures to a group, and write them."""
        self._finding.figures.setdefault(group, {}).update(figures)
        self._write()

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the seconds of a step to the figures."""
        start = time.monotonic()
        yield
        self.found("seconds", **{step: time.monotonic() - start})

    def check(self, name: str, passed: bool, detail: str) -> None:
        """Say whether something holds that must hold. The part fails where it does not."""
        self._finding.checks[name] = {"passed": bool(passed), "detail": detail}
        self._write()

    def end(self, error: str = "") -> None:
        """Write the final state."""
        wrong = [name for name, check in self._finding.checks.items() if not check["passed"]]
        if wrong and not error:
            error = f"does not hold: {', '.join(wrong)}"
        self._finding = replace(self._finding, state="failed" if error else "passed", error=error)
        self._write()

    def _write(self) -> None:
        self._finding = replace(self._finding, seconds=time.monotonic() - self._began)
        write_json(self._path, asdict(self._finding))


def finding_path(out: Path, name: str) -> Path:
    """Where the process of a part writes what it found."""
    return out / "parts" / f"{name}.json"


def run_part(part: Part, out: Path, *, limit_s: float, tiny: bool) -> Finding:
    """Run a part in a process of its own, and stop it and its children at the limit."""
    path = finding_path(out, part.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    log = path.with_suffix(".log")
    command = [sys.executable, "-m", "benchmarks.gpu.part", part.run, part.name,
               str(out.resolve()), str(limit_s), *(["--tiny"] if tiny else [])]  # fmt: skip
    environment = {
        "NO_ALBUMENTATIONS_UPDATE": "1", "OMP_WAIT_POLICY": "PASSIVE", "TQDM_MININTERVAL": "30",
        **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_python_path()]),
    }  # fmt: skip
    began, used = time.monotonic(), _used_by_children_s()
    with log.open("w", encoding="utf-8") as lines:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=lines, stderr=lines, process_group=0
        )
        try:
            code: int | None = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _kill_group(process)
    ended = _ended(part, path, log, code, limit_s=limit_s)
    return replace(
        ended, seconds=time.monotonic() - began, processor_s=_used_by_children_s() - used
    )


def main(run: str, name: str, out: Path, seconds: float, tiny: bool) -> None:
    """Run a part in this process."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    work = Work(name, out, seconds=seconds, tiny=tiny)
    try:
        resolve_name(run)(work)
    except Exception as error:
        traceback.print_exc()
        work.end(_one_line(error))
    else:
        work.end()


def _ended(part: Part, path: Path, log: Path, code: int | None, *, limit_s: float) -> Finding:
    """What the process wrote, or what can be said of one that did not come to its end."""
    left = Finding(name=part.name, state="running")
    if path.exists():
        left = Finding(**read_json(path))
    left = replace(left, limit_s=limit_s)
    if code is None:
        error = f"it had {limit_s:.0f} s; {log.name} says how far it was"
        return replace(left, state="stopped at its limit", error=error)
    if left.state != "running":
        return left
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    return replace(left, state="failed", error=" ".join([f"ended with status {code}", *last]))


def _used_by_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500]


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """The part and all that it started; a part that has ended may have left some."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _end_with(parent: int) -> None:
    """Kill this part once its parent is gone, as nobody would stop it at its limit then."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    function, part_name, folder, limit, *options = sys.argv[1:]
    main(function, part_name, Path(folder), float(limit), "--tiny" in options)
