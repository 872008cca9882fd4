"""Every command by its name, and how one is run, whichever way it was called.

`scripts/NAME.py` and `python -m atlas.cli NAME` call the function NAME of the module that COMMANDS
names; it is imported when it is needed.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any

import tyro

from atlas.cli.answers import Answer, only_the_answer
from atlas.cli.console import errors_in_one_line, show_notes
from atlas.cli.options import RECIPES_OF, REGISTRY, default_settings
from atlas.core.errors import UserError, command_line, refuse
from classify.settings import fold_problems

GROUPS = {
    "dataset": ("init",),
    "embed": ("train_embedder", "build_index", "lookup", "export_embedder"),
    "leaks": ("find", "find_leaks"),
    "classify": (
        "train_classifier", "train_folds", "predict", "ensemble", "pretrain_trunk", "show_maps",
        "show_augmentation",
    ),
    "submit": ("make_submission", "check_submission", "score"),
    "evaluate": ("evaluate", "cross_validate", "compare_losses", "ablate_retrieval"),
    "curate": ("explore", "remove_duplicates", "audit_labels", "audit_leaks", "augment_rare"),
    "simulate": ("draw_atlas", "simulate_test", "demo"),
    "runs": ("run", "update", "explain"),
}  # fmt: skip
COMMANDS = {name: f"atlas.cli.{group}" for group, names in GROUPS.items() for name in names}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first word names; list all commands where there is none."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0].replace("-", "_") if words else ""
    if name in COMMANDS:
        run(name, words[1:])
    elif not words or words[0] in ("-h", "--help"):
        print(_list_of_commands())
    else:
        sys.exit(f"error: there is no command {words[0]}\n\n{_list_of_commands()}")


# Every command has this option, beside its own.
AsJson = Annotated[
    bool,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.arg(help="Print only the result, as one JSON object; all else goes to stderr."),
]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A command with the values of its options, ready to be called."""

    command: partial[Answer]
    as_json: bool

    @property
    def options(self) -> Mapping[str, Any]:
        return self.command.keywords


def run(name: str, words: Sequence[str] | None = None) -> None:
    """Run a command with the words behind its name, by default those of the command line."""
    show_notes()
    with errors_in_one_line():
        call = understood(name, sys.argv[1:] if words is None else words)
        with only_the_answer(call.as_json):
            answer = call.command()
        print(answer.as_json() if call.as_json else "\n".join(answer.lines()), flush=True)
    if answer.failed:
        sys.exit(1)


def understood(name: str, words: Sequence[str]) -> Call:
    """Return the command with what the words say of its options.

    Exits with status 2, or raises UserError, where the words cannot be understood.
    """
    start: Callable[..., Call] = _with_options(function_of(name))
    if name in RECIPES_OF:
        usual = inspect.signature(start).parameters["recipe"].default
        start = partial(start, settings=default_settings(name, words, usual=usual))
    return tyro.cli(start, args=words, prog=command_line(name), registry=REGISTRY)


def _with_options(command: Callable[..., Answer]) -> Callable[..., Call]:
    """Return what tyro calls: it has the options of the command, and --json."""

    @wraps(command)
    def call(*args: Any, json: bool = False, **options: Any) -> Call:
        return Call(command=partial(command, *args, **options), as_json=json)

    own = inspect.signature(command)
    as_json = inspect.Parameter(
        "json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson
    )
    call.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*own.parameters.values(), as_json]
    )
    call.__annotations__ = {**command.__annotations__, "json": AsJson}
    del call.__wrapped__  # tyro would look at the command instead
    return call


def require_understood(where: str, name: str, words: Sequence[str]) -> None:
    """Check the words of a command before hours are spent on others, and call nothing.

    Exits with status 2 where the command does not understand them, and says why.
    """
    try:
        options = understood(name, words).options
        if name == "train_folds":  # its settings do not know of the folds
            refuse(fold_problems(options["settings"]))
    except SystemExit:
        print(
            f"error: {where} is not understood by {command_line(name)}, see above; nothing was done"
        )
        raise
    except UserError as error:
        raise UserError(f"{where}: {error}; nothing was done") from None


def function_of(name: str) -> Callable[..., Answer]:
    """Return the function of a command."""
    command: Callable[..., Answer] = getattr(importlib.import_module(COMMANDS[name]), name)
    return command


def _list_of_commands() -> str:
    """Each command with the first line of its documentation."""
    width = max(map(len, COMMANDS))
    lines = ["usage: python -m atlas.cli COMMAND [OPTIONS]; COMMAND --help lists its options"]
    for group, names in GROUPS.items():
        lines += ["", f"{group}:"]
        for name in names:
            summary = (function_of(name).__doc__ or "").splitlines()[0]
            lines.append(f"  {name.replace('_', '-'):<{width}}  {summary}")
    return "\n".join(lines)
