"""The parts of the attacks, in the order in which they run."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.reliability.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part: the name of its module, and what the table says of it."""

    module: str
    description: str

    @property
    def run(self) -> Callable[[Lab], None]:
        """The function that makes its trials."""
        run: Callable[[Lab], None] = importlib.import_module(
            f"benchmarks.reliability.{self.module}"
        ).run
        return run


PARTS = {
    "kills": Part(module="kills", description="kills at random moments"),
    "renames": Part(module="renames", description="kills at every change of a name"),
    "power": Part(module="power", description="power cuts"),
    "disk": Part(module="full_disk", description="full disks"),
    "damage": Part(module="damage", description="damaged own files"),
    "stale": Part(module="stale", description="stale inputs"),
    "concurrency": Part(module="concurrency", description="commands and readers at the same time"),
    "hostile": Part(module="hostile", description="hostile names, patterns and images"),
    "fuzz": Part(module="fuzz", description="fuzzed inputs"),
    "cases": Part(module="cases", description="reported cases"),
    "cost": Part(module="cost", description="seconds of a command"),
}
WITHOUT_BASE = frozenset({"cases", "cost", "fuzz"})
