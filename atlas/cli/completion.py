"""Completion of commands, options and paths in a shell."""

import re
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Literal

import tyro
from tyro.conf import Positional

from atlas.cli.answers import Answer
from atlas.cli.commands import COMMANDS, function_of
from atlas.cli.options import REGISTRY, with_options

Shell = Literal["bash", "zsh", "fish"]

# tyro's scripts do not complete positional arguments. If they find nothing, the shell looks for
# files.
FILES: dict[Shell, str] = {
    "bash": """_atlas() { _tyro_atlas; [[ -n "${COMPREPLY[*]}" ]] || COMPREPLY=(); }
complete -o default -F _atlas atlas""",
    "zsh": "(( compstate[nmatches] )) || _files",
    "fish": "complete --command atlas --force-files",
}


def completion(shell: Positional[Shell]) -> Answer:
    """Print a script that completes commands and options in your shell.

    bash: add  eval "$(atlas completion bash)"  to ~/.bashrc.
    zsh: write the script to a file _atlas in a folder of $fpath.
    fish: write the script to ~/.config/fish/completions/atlas.fish.

    Args:
        shell: Shell that reads the script.
    """
    return Answer(summary=f"{_script(shell)}\n{FILES[shell]}")


def _script(shell: Shell) -> str:
    """Return tyro's script of all commands."""
    commands = {name.replace("_", "-"): with_options(function_of(name)) for name in COMMANDS}
    with redirect_stdout(StringIO()) as printed, suppress(SystemExit):
        tyro.extras.subcommand_cli_from_dict(
            commands, prog="atlas", args=["--tyro-print-completion", shell], registry=REGISTRY
        )
    # The script reads one completion from a line, so a description may not have a second one.
    return re.sub(
        r"^.*COMPLETION_SPEC = .*$",
        lambda line: re.sub(r"\\+n", " ", line[0]),
        printed.getvalue(),
        flags=re.MULTILINE,
    )
