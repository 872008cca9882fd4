"""`python -m atlas.cli build-index` does what `atlas build-index` does."""

from atlas.cli.console import errors_in_one_line


def main() -> None:
    """Run the command of the command line; it can be stopped while libraries are loaded."""
    with errors_in_one_line():
        from atlas.cli import commands

        commands.main()


if __name__ == "__main__":
    main()
