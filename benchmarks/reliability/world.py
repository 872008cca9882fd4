"""Folders under attack: copies of the finished base, and what a folder holds.

Small files are copied and large ones are hard links, as no command changes a file in place. The
copies keep their times.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

LINKED_FROM_BYTES = 1 << 20
CONTENTS_FILE = "contents.json"  # of result folders: their files and checksums
SHARED_MEMORY = Path("/dev/shm")
Tree = Mapping[str, str]  # the hash of each file, by its path below a folder


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder, with links in place of copies of large files."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_copy_or_link, symlinks=True)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy_or_link(str(source), str(target))


def fresh_copy(base: Path, target: Path, names: Iterable[str]) -> None:
    """Make `target` a new folder that holds the named files and folders of `base`."""
    remove(target)
    target.mkdir(parents=True)
    for name in names:
        copy_tree(base / name, target / name)


def remove(path: Path) -> None:
    """Remove a file or folder, if it exists."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def tree_of(folder: Path) -> Tree:
    """Return the hash of each file below a folder, or of a single file under the name ""."""
    if folder.is_file():
        return {"": _hash(folder)}
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            found[str(path.relative_to(folder))] = _hash(path)
    return found


def without_records(tree: Tree) -> Tree:
    """Return a tree without the records of trainings and of files, which hold times."""
    return {
        name: said
        for name, said in tree.items()
        if "logs" not in Path(name).parts and "store/files/" not in name
    }


def names_in(folder: Path) -> frozenset[str]:
    """Return the relative paths of all files and folders below a folder.

    The records of trainings, whose names hold the time, and what every file system of the kind
    ext4 has are left out.
    """
    return frozenset(
        os.path.relpath(os.path.join(root, name), folder)
        for root, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if name != "lost+found" and not name.startswith("events.out.tfevents")
    )


def shared_memory(pids: Iterable[int]) -> list[str]:
    """Return the names of the files in shared memory that name one of these processes."""
    names = sorted(os.listdir(SHARED_MEMORY)) if SHARED_MEMORY.is_dir() else []
    wanted = "|".join(map(str, pids)) or "none"
    return [name for name in names if re.search(rf"(?<!\d)({wanted})(?!\d)", name)]


def difference(found: Tree, wanted: Tree) -> str:
    """Return which files differ, in one line, or "" if none do."""
    said = [
        f"{what} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in (
            ("missing", sorted(wanted.keys() - found.keys())),
            ("extra", sorted(found.keys() - wanted.keys())),
            ("differs", sorted(n for n in wanted.keys() & found.keys() if wanted[n] != found[n])),
        )
        if names
    ]
    return "; ".join(said)


def _copy_or_link(source: str, target: str) -> str:
    if os.path.getsize(source) >= LINKED_FROM_BYTES:
        try:
            os.link(source, target)
            return target
        except OSError:  # the target is on another disk
            pass
    return str(shutil.copy2(source, target))


def _hash(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return f"link to {os.readlink(path)}"
    if path.name == CONTENTS_FILE and (said := _contents(path)):
        return said
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:24]


def _contents(path: Path) -> str:
    """Return the hash of a list of files without records of trainings, or "" if it is damaged."""
    try:
        listed = json.loads(path.read_bytes())
        files = {name: said for name, said in listed["files"].items() if "logs/" not in name}
    except (ValueError, KeyError, AttributeError, TypeError):
        return ""
    text = json.dumps([listed.get("written_by"), files], sort_keys=True)
    return hashlib.blake2b(text.encode()).hexdigest()[:24]
