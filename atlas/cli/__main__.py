"""`python -m atlas.cli build-index` does what `atlas build-index` does."""

import signal


def main() -> None:
    """Run the command of the command line; it can be stopped while libraries are loaded."""
    _start()


def run(name: str) -> None:
    """Run the command with this name, as the scripts of `scripts/` do."""
    _start(name)


def _start(name: str = "") -> None:
    # Until `stoppable` is in force, Ctrl-C ends the process without Python's traceback.
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from atlas.cli.failures import errors_in_one_line, use_streams_that_work

    use_streams_that_work()
    with errors_in_one_line():
        from atlas.cli import commands

        if name:
            commands.run(name)
        else:
            commands.main()


if __name__ == "__main__":
    main()
