"""Find which new images you already have, and what labels follow.

The names below are all of the public API; each is loaded when it is first used. A function does
what the command of the same name does: `atlas.build_index` is `atlas build-index`. The settings are
in `atlas.settings`. Wherever a folder is named, you can give a string, a path, or the result that
lies in that folder.

Example:
    >>> import atlas
    >>> data = atlas.open_dataset("data")  # doctest: +SKIP
    >>> gallery = atlas.build_index(data, "frozen")  # doctest: +SKIP
    >>> gallery.search("photo.png", k=10)  # doctest: +SKIP
"""

# Nothing is imported before it is needed, not even `typing`, because Python answers Ctrl-C with a
# traceback until the first lines of a command have run. Type checkers take this name for true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from atlas.core.errors import UserError
    from atlas.dataset.open import open_dataset
    from atlas.workflows.classify.ensemble import ensemble
    from atlas.workflows.classify.prediction import predict
    from atlas.workflows.classify.training import train_classifier
    from atlas.workflows.embed.embedder import train_embedder
    from atlas.workflows.embed.index import build_index, open_index
    from atlas.workflows.embed.lookup import lookup
    from atlas.workflows.evaluate.embedder import evaluate
    from atlas.workflows.explain.explanation import explain
    from atlas.workflows.export.exporting import export
    from atlas.workflows.export.importing import import_verdicts
    from atlas.workflows.find import find
    from atlas.workflows.leaks.finding import find_leaks
    from atlas.workflows.runs.stages import run
    from atlas.workflows.runs.update import update
    from atlas.workflows.submit.submission import make_submission

    __version__: str

__all__ = [
    "UserError",
    "build_index",
    "ensemble",
    "evaluate",
    "explain",
    "export",
    "find",
    "find_leaks",
    "import_verdicts",
    "lookup",
    "make_submission",
    "open_dataset",
    "open_index",
    "predict",
    "run",
    "train_classifier",
    "train_embedder",
    "update",
]

# The module that each name is loaded from.
_HOMES = {
    "UserError": "core.errors",
    "build_index": "workflows.embed.index",
    "ensemble": "workflows.classify.ensemble",
    "evaluate": "workflows.evaluate.embedder",
    "explain": "workflows.explain.explanation",
    "export": "workflows.export.exporting",
    "find": "workflows.find",
    "find_leaks": "workflows.leaks.finding",
    "import_verdicts": "workflows.export.importing",
    "lookup": "workflows.embed.lookup",
    "make_submission": "workflows.submit.submission",
    "open_dataset": "dataset.open",
    "open_index": "workflows.embed.index",
    "predict": "workflows.classify.prediction",
    "run": "workflows.runs.stages",
    "train_classifier": "workflows.classify.training",
    "train_embedder": "workflows.embed.embedder",
    "update": "workflows.runs.update",
}


def __getattr__(name: str) -> "Any":
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("atlas-retrieval")
    if name not in _HOMES:
        raise AttributeError(f"module 'atlas' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"atlas.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
