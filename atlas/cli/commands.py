"""All commands by name, and how they are run.

`atlas NAME`, `python -m atlas.cli NAME` and `scripts/NAME.py` call the function NAME of the module
that COMMANDS names. The module is imported only when it is needed, and so are the libraries that
only options need, so the list of commands appears at once.
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.cli.answers import Answer, only_the_answer
from atlas.cli.console import show, show_notes
from atlas.cli.failures import errors_in_one_line
from atlas.core.errors import UserError, command_line, refuse
from atlas.core.escaping import escaped
from atlas.core.execution import PartEndedError
from atlas.core.shared_memory import sweep

if TYPE_CHECKING:
    from atlas.cli.options import Call

# The commands of each module of this package, in the order in which they are listed.
GROUPS = {
    "leaks": ("find", "find_leaks"),
    "review": ("review",),
    "serve": ("serve",),
    "dataset": ("init",),
    "embed": ("train_embedder", "build_index", "lookup", "export_embedder"),
    "classify": (
        "train_classifier", "train_folds", "predict", "ensemble", "pretrain_backbone", "show_maps",
        "show_augmentation",
    ),
    "submit": ("make_submission", "check_submission", "score"),
    "runs": ("run", "update", "explain"),
    "curate": ("explore", "remove_duplicates", "audit_labels", "audit_leaks", "augment_rare"),
    "evaluate": ("evaluate", "cross_validate", "compare_losses", "ablate_retrieval"),
    "export": ("export", "import_verdicts"),
    "simulate": ("demo", "draw_atlas", "simulate_test"),
    "bench": ("bench",),
    "completion": ("completion",),
}  # fmt: skip
TITLES = {
    "leaks": "Known images",
    "review": "Review by people",
    "serve": "Service",
    "dataset": "Data folders",
    "embed": "Embedders and the index",
    "classify": "Classifiers",
    "submit": "Submissions",
    "runs": "Whole runs",
    "curate": "Labelled images",
    "evaluate": "Evaluation of embedders",
    "export": "Other tools",
    "simulate": "Data with a known truth",
    "bench": "Speed",
    "completion": "Shell completion",
}
COMMANDS = {name: f"atlas.cli.{group}" for group, names in GROUPS.items() for name in names}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first word names, or list all commands if there is none.

    Args:
        arguments: The words that follow the program's name; by default those of the command line. A
            command may be written with hyphens or with underscores.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0].replace("-", "_") if words else ""
    if name in COMMANDS:
        run(name, words[1:])
    elif not words or words[0] in ("-h", "--help"):
        show(_list_of_commands())
    elif words[0] == "--version":
        show(f"atlas {_version()}")
    else:
        sys.exit(escaped(_unknown(words[0])))


def run(name: str, words: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        name: The name of the command.
        words: The words that follow it; by default those of the command line.
    """
    show_notes()
    with errors_in_one_line():
        sweep()
        call = understood(name, sys.argv[1:] if words is None else words)
        with only_the_answer(call.as_json):
            answer = _answer_of(call)
        show(*([answer.as_json()] if call.as_json else answer.lines()))
    if answer.failed:
        sys.exit(1)


def _answer_of(call: "Call") -> Answer:
    try:
        return call.command()
    except PartEndedError as part:
        return Answer(summary=str(part))


def understood(name: str, words: Sequence[str]) -> "Call":
    """Return the command with the options that the words give.

    Exits with status 2, or raises UserError, if the words are not understood.
    """
    import tyro

    from atlas.cli.options import RECIPES_OF, REGISTRY, default_settings, with_options

    start: Callable[..., Call] = with_options(function_of(name))
    if name in RECIPES_OF:
        usual = inspect.signature(start).parameters["recipe"].default
        start = partial(start, settings=default_settings(name, words, usual=usual))
    return tyro.cli(start, args=words, prog=command_line(name), registry=REGISTRY)


def require_understood(where: str, name: str, words: Sequence[str]) -> None:
    """Check the words of a command without running it, before other commands take hours.

    Exits with status 2 and reports the reason if the words are not understood.
    """
    try:
        options = understood(name, words).options
        if name == "train_folds":  # its settings do not know of the folds
            from classify.settings import fold_problems

            refuse(fold_problems(options["settings"]))
    except SystemExit:
        show(f"error: {command_line(name)} does not accept {where} (see above); nothing was done")
        raise
    except UserError as error:
        raise UserError(f"{where}: {error}; nothing was done") from None


def function_of(name: str) -> Callable[..., Answer]:
    """Return the function of a name of COMMANDS."""
    command: Callable[..., Answer] = getattr(importlib.import_module(COMMANDS[name]), name)
    return command


def _unknown(word: str) -> str:
    """Return the message about a word that is not a command, with the nearest command."""
    nearest = get_close_matches(word.replace("-", "_"), COMMANDS, n=1)
    meant = f"; did you mean {_typed(nearest[0])}?" if nearest else ""
    return f"error: there is no command {word}{meant}\natlas --help lists all commands"


def _list_of_commands() -> str:
    """Return each command with the first line of its documentation."""
    width = max(map(len, COMMANDS))
    lines = [
        "usage: atlas COMMAND [OPTIONS]",
        "",
        "Find out which new images you already have, and which labels follow.",
        "atlas COMMAND --help lists the options of a command; atlas --version prints the version.",
    ]
    for group, names in GROUPS.items():
        summaries = dict(_summaries(f"atlas.cli.{group}"))
        lines += ["", f"{TITLES[group]}:"]
        lines += [f"  {_typed(name):<{width}}  {summaries[name]}" for name in names]
    return "\n".join(lines)


def _summaries(module: str) -> Iterator[tuple[str, str]]:
    """Yield each function of a module with the first line of its documentation.

    The source is read, because importing the modules of all commands takes seconds.
    """
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, (ast.get_docstring(node) or "").partition("\n")[0]


def _typed(name: str) -> str:
    return name.replace("_", "-")


def _version() -> str:
    import atlas

    return atlas.__version__  # reading it takes as long as all the rest of the list
