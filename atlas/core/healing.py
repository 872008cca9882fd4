"""Functions are called again after damaged rows of a row cache were removed."""

import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from atlas.core.errors import UserError

LOGGER = logging.getLogger(__name__)
HEALED_CACHES = 5  # how often a function is called again, once for each damaged cache

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class DamagedCacheError(UserError):
    """Rows that were stored cannot be read, and their files were removed.

    `healed` calls a function again after this error, and a user can run the same command again.

    Args:
        folder: The folder of the row cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(
            f"{folder}: damaged files of this cache were removed; run the same command again"
        )

    def __reduce__(self) -> tuple[type["DamagedCacheError"], tuple[Path]]:
        """Return what another process needs to rebuild this error."""
        return type(self), (self.folder,)


def healed(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorate a function that uses row caches: if one was damaged, call the function again.

    Its other work is in the caches, so only the rows of the damaged files are computed again.
    """

    @wraps(function)
    def again(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for _ in range(HEALED_CACHES):
            try:
                return function(*args, **kwargs)
            except DamagedCacheError as error:
                LOGGER.warning(f"{error.folder}: damaged rows are computed again")
        return function(*args, **kwargs)

    return again
