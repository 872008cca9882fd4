"""Fields that are asked for by their ids, by paths to their files, or by folders of files."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.core.errors import UserError
from atlas.dataset.picture_files import file_of_stem, is_picture_name, pictures_below
from atlas.dataset.spec import AtlasSpec, image_folders
from atlas.dataset.tables import Split


@dataclass(frozen=True, kw_only=True)
class Query:
    """A field to look up.

    name: its id, or the path as it was given.
    files: none where there is a problem.
    problem: why it is no field, or "".
    """

    name: str
    files: tuple[Path, ...] = ()
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class AtlasFiles:
    """Finds the files of an atlas's images, by id or by one of their paths.

    folders: where the images of each split lie.
    """

    spec: AtlasSpec
    data: Path
    folders: dict[Split, Path]

    def of_id(self, image_id: str) -> tuple[Path, ...] | None:
        """Return the files of an id, or None where it is no id of the atlas."""
        for folder in self.folders.values():
            files = self.spec.files_in(folder, image_id)
            if all(files):
                return tuple(file for file in files if file)
        return None

    def query(self, text: str) -> Query:
        """Return the files of an id of the atlas, or of the field that a path belongs to.

        A path may name any one channel's file. Raises UserError that says what was looked for.
        """
        if files := self.of_id(text):
            return Query(name=text, files=files)
        if is_picture_name(text) or os.sep in text:
            return Query(name=text, files=files_beside(Path(text), self.spec))
        raise UserError(
            f"{text}: no image of that id in {self.data} ({', '.join(self.folders)}); "
            "give an id, or the path of an image file"
        )


def open_files(spec: AtlasSpec, data: Path) -> AtlasFiles:
    """Return where the files of the atlas at `data` are found."""
    return AtlasFiles(spec=spec, data=data, folders=image_folders(data))


def find_query(text: str, spec: AtlasSpec, data: Path) -> Query:
    """As `AtlasFiles.query`, for a single one."""
    return open_files(spec, data).query(text)


def files_beside(path: Path, spec: AtlasSpec) -> tuple[Path, ...]:
    """Return all files of the field that this file is one of. Raises UserError."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give an id, or the path of an image file")
    if len(spec.file_channels) == 1:
        return (path,)
    image_id = id_of_channel_file(path, spec)
    if image_id is None:
        raise UserError(f"{path}: its name does not follow {spec.file_pattern}")
    files = []
    for channel in spec.file_channels:
        file = file_of_stem(path.parent, spec.file_stem(image_id, channel))
        if file is None:
            raise UserError(f"{path}: the channel {channel} is not beside it")
        files.append(file)
    return tuple(files)


def id_of_channel_file(path: Path, spec: AtlasSpec) -> str | None:
    """Return the id that a channel's file is named by, or None where it follows no pattern."""
    for channel in spec.file_channels:
        before, after = spec.file_stem("\0", channel).split("\0")
        if path.stem.startswith(before) and path.stem.endswith(after):
            return path.stem[len(before) : len(path.stem) - len(after)]
    return None


def gather_queries(texts: Sequence[str], files: AtlasFiles) -> list[Query]:
    """Return the fields that ids, files and folders of files stand for, each once.

    Channel files of one field are one query, whether they are given or lie in a folder. What is no
    field has a `problem`, so that it does not lose the others.
    """
    queries: list[Query] = []
    seen: set[tuple[str | Path, ...]] = set()
    for text in texts:
        for query in _queries_of(text, files):
            key = tuple(file.resolve() for file in query.files) or (query.name,)
            if key not in seen:
                seen.add(key)
                queries.append(query)
    return queries


def _queries_of(text: str, files: AtlasFiles) -> Iterator[Query]:
    folder = Path(text)
    if files.of_id(text) or not folder.is_dir():
        yield _checked(text, files)
        return
    found = pictures_below(folder).paths
    if not found:
        yield Query(name=text, problem=f"{text}: this folder holds no pictures")
    for path in found:
        file = str(folder / path)
        try:
            yield Query(name=file, files=files_beside(Path(file), files.spec))
        except UserError as error:
            yield Query(name=file, problem=str(error))


def _checked(text: str, files: AtlasFiles) -> Query:
    try:
        return files.query(text)
    except UserError as error:
        return Query(name=text, problem=str(error))
