"""A field asked for by its id or by a path to one of its files."""

from dataclasses import dataclass
from pathlib import Path

from atlas.core.errors import UserError
from atlas.dataset.images import ENDINGS
from atlas.dataset.manifest import SPLITS
from atlas.dataset.spec import AtlasSpec


@dataclass(frozen=True, kw_only=True)
class Query:
    """A field to look up. name: its id, or the path as it was given."""

    name: str
    files: tuple[Path, ...]


def find_query(text: str, spec: AtlasSpec, data: Path) -> Query:
    """The files of an id of the atlas at `data`, or of the field that a path belongs to.

    A path may name any one channel's file. Raises UserError that says what was looked for.
    """
    if "/" in text or text.lower().endswith(ENDINGS):
        return Query(name=text, files=_files_beside(Path(text), spec))
    for split in SPLITS:
        files = [_with_ending(data / split / spec.file_stem(text, c)) for c in spec.channels]
        if all(files):
            return Query(name=text, files=tuple(file for file in files if file))
    raise UserError(
        f"{text}: no image of that id in {data} ({', '.join(SPLITS)}); "
        "give an id, or the path of an image file"
    )


def _files_beside(path: Path, spec: AtlasSpec) -> tuple[Path, ...]:
    """All channels of the field that this file is one channel of."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give an id, or the path of an image file")
    if len(spec.channels) == 1:
        return (path,)
    for channel in spec.channels:
        before, after = spec.file_stem("\0", channel).split("\0")
        if path.stem.startswith(before) and path.stem.endswith(after):
            image_id = path.stem[len(before) : len(path.stem) - len(after)]
            files = [_with_ending(path.parent / spec.file_stem(image_id, c)) for c in spec.channels]
            missing = [c for c, file in zip(spec.channels, files, strict=True) if file is None]
            if missing:
                raise UserError(f"{path}: the channel {missing[0]} is not beside it")
            return tuple(file for file in files if file)
    raise UserError(f"{path}: its name does not follow {spec.file_pattern}")


def _with_ending(stem: Path) -> Path | None:
    endings = (stem.with_name(stem.name + ending) for ending in ENDINGS)
    return next((path for path in endings if path.is_file()), None)
