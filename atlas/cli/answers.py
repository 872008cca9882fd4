"""The answer of a command: its last lines for a person, or one JSON object for a program."""

import inspect
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas.core.errors import command_line


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of a command.

    Attributes:
        summary: The result in words.
        wrote: The files and folders that were written.
        page: The page to open in a browser or viewer.
        next_command: The command that usually follows.
        details: The result for programs.
        failed: Whether the command did everything it could and a part of it failed; its exit status
            is then 1.
    """

    summary: str
    wrote: Sequence[Path] = ()
    page: Path | None = None
    next_command: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    failed: bool = False

    def lines(self) -> Iterator[str]:
        """Yield the last lines of the command."""
        yield self.summary
        for path in self.wrote:
            yield f"wrote {path}"
        if self.page is not None:
            yield f"open {self.page}"
        if self.next_command:
            yield f"next: {self.next_command}"

    def as_json(self) -> str:
        """Return the same as one line of JSON."""
        from atlas.core.files import json_text

        said = {
            "summary": self.summary,
            "wrote": [str(path) for path in self.wrote],
            "page": None if self.page is None else str(self.page),
            "next_command": self.next_command or None,
            **self.details,
        }
        # `json_text` knows paths and numpy's numbers; JSON itself has no NaN.
        plain = json.loads(json_text(said), parse_constant=lambda name: None)
        return json.dumps(plain, allow_nan=False)  # ASCII, which no terminal can misread


@contextmanager
def only_the_answer(as_json: bool) -> Iterator[None]:
    """Send everything else that a command prints to stderr, if its answer is for a program."""
    if not as_json:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def following(name: str, *words: str, **places: Path) -> str:
    """Return a command line with those of its places that differ from the defaults.

    Args:
        name: The command.
        *words: The words that follow its name.
        **places: Options that name files and folders, such as data and out.
    """
    from atlas.cli.commands import function_of

    usual = inspect.signature(function_of(name)).parameters
    options = [
        word
        for option, path in places.items()
        if Path(path) != Path(str(usual[option].default))
        for word in (f"--{option.replace('_', '-')}", str(path))
    ]
    return " ".join([command_line(name), *map(shlex.quote, [*words, *options])])
