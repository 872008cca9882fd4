"""Do all that a run file asks for and that is not done yet."""

import importlib
from functools import wraps
from pathlib import Path

import tyro

from atlas.cli.console import run as run_command


def main(file: tyro.conf.Positional[Path] = Path("run.toml"), dry_run: bool = False) -> None:
    """Do all that a run file asks for and that is not done yet, in order.

    The same file again does only what is left; a stopped run goes on where it was.

    Args:
        file: a TOML that names the atlas, embedder, classifiers, ensemble and their options.
        dry_run: only show what would be done.
    """
    from atlas.workflows.runs.run_file import read_run_file
    from atlas.workflows.runs.stages import do_run, plan_run

    run = read_run_file(file)
    for stage in run.stages:
        require_understood(f"{file}: [{stage.name}]", stage.script, stage.words)
    if not dry_run:
        did = do_run(run, tell=lambda line: print(line, flush=True))
        print(f"{len(did)} stages done now; the run is in {run.out}")
        return
    print(f"{file} -> {run.out}")
    for planned in plan_run(run):
        print(f"{planned.state:10}{planned.stage.name}\n          $ {planned.command}")


def require_understood(where: str, script: str, words: tuple[str, ...]) -> None:
    """Before hours are spent: the command's own parser reads its words, and calls nothing.

    Exits with 2 where it does not understand them, having said why.
    """
    command = importlib.import_module(f"scripts.{script}").main

    @wraps(command)
    def nothing(*_: object, **__: object) -> None:
        return None

    try:
        tyro.cli(nothing, args=words, prog=f"scripts/{script}.py")
    except SystemExit:
        print(
            f"error: {where} is not understood by scripts/{script}.py, see above; nothing was done"
        )
        raise


if __name__ == "__main__":
    run_command(main)
