"""What every command does alike: read arguments, run, and tell a user's mistake in one line."""

import os
import sys
from collections.abc import Callable
from typing import Any

import tyro

from atlas.errors import UserError

# OpenMP's threads spin while they wait; beside other work that made training up to 8 times slower.
# Read when torch is loaded, so it is set before. albumentations would ask the network for updates.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if not sys.stderr.isatty():  # a log wants a line now and then, not ten a second
    os.environ.setdefault("TQDM_MININTERVAL", "30")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def run(main: Callable[..., Any]) -> None:
    """Calls `main` with the command line's arguments; exits 1 with the text of a UserError."""
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or ''}: {error.strerror or error}; nothing was replaced")
    except KeyboardInterrupt:
        sys.exit("stopped; run the same command again: what is finished is kept")
