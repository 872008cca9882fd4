"""Queries: images that a user names by id, by the path of a file, or by a folder of files."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.core.errors import UserError
from atlas.dataset.image_folders import is_image_folder
from atlas.dataset.picture_files import composed, is_picture_name, pictures_below, stem_of
from atlas.dataset.spec import AtlasSpec, image_folders
from atlas.dataset.tables import Split


@dataclass(frozen=True, kw_only=True)
class Query:
    """An image to look up.

    Attributes:
        name: The id, or the path as it was given.
        files: The files of the image. It is empty if there is a problem.
        problem: Why the query is not an image, or "".
    """

    name: str
    files: tuple[Path, ...] = ()
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class AtlasFiles:
    """The files of an atlas, which are found by id or by path.

    Attributes:
        spec: The kind of images.
        data: The data folder.
        folders: The folder of the images of each split.
        added: Returns the files of an id that is known beside those of the atlas, or None.
    """

    spec: AtlasSpec
    data: Path
    folders: dict[Split, Path]
    added: Callable[[str], tuple[Path, ...] | None] = lambda _: None

    def of_id(self, image_id: str) -> tuple[Path, ...] | None:
        """Return the files of an id, or None if there is no such id."""
        if added := self.added(image_id):
            return added
        for listed in (False, True):  # a large folder is listed only if no folder has usual names
            for folder in self.folders.values():
                if files := self.spec.files_in(folder, image_id, listed=listed):
                    return files
        return None

    def query(self, text: str) -> Query:
        """Return the files of an id of the atlas, or of the image to which a path belongs.

        The path may name the file of any channel.

        Raises:
            UserError: There is no such image. The text says where it was looked for.
        """
        if files := self.of_id(text):
            return Query(name=text, files=files)
        if is_picture_name(text) or os.sep in text:
            return Query(name=text, files=files_beside(Path(text), self.spec))
        raise UserError(
            f"{text}: no image of that id in {self.data} ({', '.join(self.folders)}); "
            "give an id of the atlas, or the path of an image file"
        )


def open_files(spec: AtlasSpec, data: Path) -> AtlasFiles:
    """Return an object that finds the files of the atlas in `data`."""
    return AtlasFiles(spec=spec, data=data, folders=image_folders(data))


def find_query(text: str, spec: AtlasSpec, data: Path) -> Query:
    """Return the files of one id or path, see `AtlasFiles.query`."""
    return open_files(spec, data).query(text)


def files_beside(path: Path, spec: AtlasSpec) -> tuple[Path, ...]:
    """Return all files of the image to which a file belongs.

    Raises:
        UserError: The file does not exist, or the file of another channel is missing.
    """
    if not os.path.lexists(path):  # reading says what else is wrong with it
        raise UserError(f"{path} does not exist; give an id, or the path of an image file")
    if len(spec.file_channels) == 1:
        return (path,)
    readings = ids_of_channel_file(path, spec)
    if not readings:
        raise UserError(f"{path}: the name does not follow the pattern {spec.file_pattern}")
    found = [_channel_files(path, spec, *reading) for reading in readings]
    complete = [files for files in found if None not in files.values()]
    if len(complete) > 1:
        ids = " or ".join(image_id for image_id, _ in readings)
        raise UserError(f"{path}: the file may belong to {ids}; give the id of the image")
    if not complete:
        channel = next(channel for channel, file in found[0].items() if file is None)
        raise UserError(f"{path}: the file of channel {channel} is missing in its folder")
    return tuple(file for file in complete[0].values() if file)


def ids_of_channel_file(path: Path, spec: AtlasSpec) -> list[tuple[str, str]]:
    """Return the ids and channels that the name of a channel's file may stand for.

    There are none if the name does not follow the pattern, and several if a name of a channel ends
    like another one. The reading with the longest name of a channel comes first.
    """
    stem, readings = composed(stem_of(path.name)), []
    for channel in sorted(spec.file_channels, key=len, reverse=True):
        before, after = map(composed, spec.file_stem("\0", channel).split("\0"))
        image_id = stem[len(before) : len(stem) - len(after)]
        if image_id and stem == f"{before}{image_id}{after}":
            readings.append((image_id, channel))
    return readings


def _channel_files(
    path: Path, spec: AtlasSpec, image_id: str, channel: str
) -> dict[str, Path | None]:
    """Return the file of each channel beside `path`, which is that of `channel`."""
    return {
        other: path if other == channel else spec.file_in(path.parent, image_id, other)
        for other in spec.file_channels
    }


def gather_queries(texts: Sequence[str], files: AtlasFiles) -> list[Query]:
    """Return the images that ids, files and folders of files stand for, each image once.

    Channel files of one image are one query, whether they are given or lie in a folder. A text that
    is not an image becomes a query with a `problem`, so the other queries are still answered.
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
    query, folder = _checked(text, files), Path(text)
    is_id = not query.problem and query.files != (folder,)
    if is_id or not os.path.isdir(folder) or is_image_folder(folder):
        yield query
        return
    found = pictures_below(folder).paths
    if not found:
        yield Query(name=text, problem=f"{text}: this folder has no pictures")
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
