"""What a user did that cannot work, said in one line: where, what, and the next step."""

from collections.abc import Sequence

SHOWN_PROBLEMS = 50


class UserError(Exception):
    """A mistake the user can mend. Commands print its text and exit with 1, without a traceback."""


class DataError(UserError):
    """Everything that is wrong with a data folder, at once.

    problems: one line each, already saying where and what.
    """

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        self.where, self.problems = where, tuple(problems)
        shown = [f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            shown.append(f"  ... and {len(self.problems) - SHOWN_PROBLEMS} more")
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        super().__init__("\n".join([f"{where}: {count} {noun} to mend before going on:", *shown]))

    def __reduce__(self) -> tuple[type["DataError"], tuple[str, tuple[str, ...]]]:
        """From a process that reads to the one that asked: as it was made, not from its text."""
        return type(self), (self.where, self.problems)


class ProvenanceError(UserError):
    """Artifacts that do not belong together, such as an index and another embedder's vectors."""


class MissingStageError(UserError):
    """A stage's input is not there yet; the text names the command that makes it."""
