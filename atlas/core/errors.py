"""Errors that a user can fix. Each says where the problem is, what it is, and what to do next.

UserError
├── DataError            a data folder has problems; all of them are listed at once
├── ProvenanceError      two artifacts do not belong together
└── MissingStageError    the output of an earlier stage is missing
"""

import sys
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path

from atlas.core.wording import counted

SHOWN_PROBLEMS = 50


class Stage(Enum):
    """A stage whose output other stages read. The values are the names of its commands."""

    DRAWING = ("draw_atlas",)
    EMBEDDER = ("train_embedder",)
    INDEX = ("build_index",)
    LEAKS = ("find_leaks",)
    CLASSIFIER = ("train_classifier", "train_folds")
    ENSEMBLE = ("ensemble",)
    PREDICTIONS = ("predict",)
    SUBMISSION = ("make_submission",)
    CROSS_VALIDATION = ("cross_validate",)
    RUN = ("run",)

    @property
    def command(self) -> str:
        """The text that a user types to run the stage."""
        return "  or  ".join(map(command_line, self.value))


def command_line(name: str) -> str:
    """Return the text that a user types to run the command with this name.

    A user who started a script of `scripts/` is shown the names of scripts. Everybody else is shown
    the verbs of the command `atlas`.
    """
    if _script():
        return f"python scripts/{name}.py"
    return f"atlas {name.replace('_', '-')}"


def command_words(name: str) -> list[str]:
    """Return the words that run the command with this name in a new process.

    The command is started in the same way as this process was, so that its messages name scripts or
    verbs of `atlas` as this process does.
    """
    if script := _script():
        return [sys.executable, str(script.with_name(f"{name}.py"))]
    return [sys.executable, "-m", "atlas.cli", name]


def install_command(*extras: str) -> str:
    """Return the text that a user types to install extras, from a clone or from a wheel."""
    return f"pip install 'atlas-retrieval[{','.join(extras)}]'"


def _script() -> Path | None:
    """Return the file of `scripts/` that was started, or None if something else was started."""
    started = Path(*sys.argv[:1]).absolute()
    return started if started.suffix == ".py" and started.parent.name == "scripts" else None


class UserError(Exception):
    """A mistake that the user can fix. Commands print its text and exit with status 1."""


def refuse(problems: Iterable[str]) -> None:
    """Raise a UserError that lists all problems, if there are any."""
    if text := "; ".join(problems):
        raise UserError(text)


class DataError(UserError):
    """A data folder has problems. The text lists all of them at once.

    Args:
        where: The folder or file that has the problems.
        problems: One line for each problem, which says where it is and what is wrong.
    """

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        self.where, self.problems = where, tuple(problems)
        shown = [f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            shown.append(f"  ... and {len(self.problems) - SHOWN_PROBLEMS} more")
        count = counted(len(self.problems), "problem")
        super().__init__("\n".join([f"{where}: {count} to fix before you continue:", *shown]))

    def __reduce__(self) -> tuple[type["DataError"], tuple[str, tuple[str, ...]]]:
        """Return what another process needs to rebuild this error, which its text alone is not."""
        return type(self), (self.where, self.problems)


class ProvenanceError(UserError):
    """Artifacts do not belong together, such as an index and the vectors of another embedder."""


class MissingStageError(UserError):
    """The output of a stage is missing. The text names the command that makes it.

    Args:
        path: The file or folder that is missing.
        stage: The stage that writes it, or None if no command does.
        hint: Another way out, which follows the command in parentheses.
    """

    def __init__(self, path: Path | str, stage: Stage | None = None, *, hint: str = "") -> None:
        command = f"; first run  {stage.command}" if stage else ""
        super().__init__(f"{path} does not exist{command}" + (f"  ({hint})" if hint else ""))
