"""Read what `--embedder` names: a folder, or a network that needs no training.

| text | what it names |
|---|---|
| `frozen` | the pretrained backbone that this project has chosen |
| `timm:NAME`, `timm:NAME@FILE` | a network of timm, with weights from the hub or from a file |
| `torchscript:FILE`, `onnx:FILE` | a network in a file of somebody else |
| anything else | the folder of an embedder or of a classifier |

Nothing here imports torch, which takes seconds to load.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from atlas.core.errors import UserError
from atlas.inference.settings import FileKind

FROZEN = "frozen"
PREFIXES = ("timm", *get_args(FileKind))
UNTRAINED = "frozen, timm:NAME, torchscript:FILE or onnx:FILE"


@dataclass(frozen=True, kw_only=True)
class PretrainedSource:
    """A network of timm with pretrained weights.

    Attributes:
        network: Name of the network; None for the one that this project has chosen.
        weights: File of its weights; None for the hub or an installed package.
    """

    network: str | None = None
    weights: Path | None = None


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A network in a file of somebody else, with its format."""

    kind: FileKind
    file: Path


Source = Path | PretrainedSource | FileSource


def source_of(text: str) -> Source:
    """Return what the text names.

    Raises:
        UserError: A name is missing, or a file that is named does not exist.

    Example:
        >>> source_of("timm:resnet18").network
        'resnet18'
    """
    kind, colon, name = text.partition(":")
    if text == FROZEN:
        return PretrainedSource()
    if colon and kind == "timm":
        network, at, file = name.partition("@")
        if not network:
            raise UserError(f"--embedder {text}: give the name of a network, as in timm:resnet18")
        return PretrainedSource(network=network, weights=_file(file, text) if at else None)
    if colon and kind in get_args(FileKind):
        return FileSource(kind=cast(FileKind, kind), file=_file(name, text))
    if colon and kind.lower() in PREFIXES and not Path(text).exists():
        raise UserError(f"--embedder {text}: write {kind.lower()}: in small letters")
    return Path(text)


def is_untrained(text: str) -> bool:
    """Return whether the text names a network that needs no training."""
    return not isinstance(source_of(text), Path)


def files_of(text: str) -> tuple[Path, ...]:
    """Return the files outside the atlas and the run that the named embedder is made from."""
    source = source_of(text)
    if isinstance(source, FileSource):
        return source.file, source.file.with_suffix(".toml")
    if isinstance(source, PretrainedSource) and source.weights:
        return (source.weights,)
    return ()


def _file(name: str, text: str) -> Path:
    # A shell leaves the ~ of onnx:~/model.onnx as it is.
    path = Path(name).expanduser() if name.startswith("~/") else Path(name)
    if not path.is_file():
        raise UserError(f"--embedder {text}: there is no file {name!r}")
    return path
