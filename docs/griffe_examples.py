"""Show the examples of docstrings as code.

griffe knows a section "Examples:", and this project writes "Example:".
"""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Read a section "Example:" as griffe reads "Examples:"."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section in the docstring of each object."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )
