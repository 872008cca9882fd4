"""Hide messages of Lightning that are not meant for the users of a command."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the advice of Lightning."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Reading from memory or HDF5 is fast, so workers would cost more time than they save.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # Lightning 2.6 uses an API that torch 2.14 has deprecated.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
            # The data loader can be resumed, because EveryStep counts its batches.
            warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
