"""What every command does alike: read arguments, run, and tell a user's mistake in one line."""

import sys
from collections.abc import Callable
from typing import Any

import tyro

from atlas.errors import UserError


def run(main: Callable[..., Any]) -> None:
    """Calls `main` with the command line's arguments; exits 1 with the text of a UserError."""
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on where it was")
