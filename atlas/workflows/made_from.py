"""The images that results were made from, and the check that they still show the same.

Leaks and predictions keep a key of every image (`atlas/dataset/image_keys.py`). A command that uses
them compares these keys with those of the atlas, so an image that was replaced is noticed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from atlas.core.errors import ProvenanceError, Stage, command_line
from atlas.core.result_files import was_written, written_by
from atlas.dataset.artifacts import ProbabilitySet, load_table, save_table

IMAGES_FILE = "images.csv"  # of leaks and of duplicates: a key of each image


@dataclass(frozen=True, kw_only=True)
class MadeFrom:
    """The images that a result was made from.

    Attributes:
        folder: The folder of the result.
        key_of: The key of each image, by id. It is empty if the keys are not known.
        commands: The commands that make the result again, in order.
    """

    folder: Path
    key_of: Mapping[str, str]
    commands: tuple[str, ...]

    def changed(self, keys: Mapping[str, str]) -> list[str]:
        """Return the ids of the images whose keys are known and differ now."""
        return [i for i, key in self.key_of.items() if keys.get(i, key) != key]


def save_images(folder: Path, key_of: Mapping[str, str]) -> None:
    """Write the keys of the images that leaks or groups of copies were made from."""
    table = pd.DataFrame({"Id": list(key_of), "Key": list(key_of.values())})
    save_table(folder / IMAGES_FILE, table)


def saved_images(folder: Path) -> dict[str, str]:
    """Return the keys that `save_images` wrote, or none if it did not."""
    if not was_written(folder / IMAGES_FILE):
        return {}
    table = load_table(folder / IMAGES_FILE)
    return dict(zip(table["Id"], table["Key"], strict=True))


def images_of_leaks(folder: Path, keys: Mapping[str, str], test_ids: Collection[str]) -> MadeFrom:
    """Return the images that leaks were made from.

    Args:
        folder: The folder of the leaks. Claims that `find_leaks` did not write have no keys.
        keys: The keys of the images now. If a labelled one has changed, the index is stale too.
        test_ids: The ids of the test images.
    """
    key_of = saved_images(folder)
    leaks = MadeFrom(folder=folder, key_of=key_of, commands=(Stage.LEAKS.command,))
    if set(leaks.changed(keys)) <= set(test_ids):
        return leaks
    commands = (Stage.INDEX.command, Stage.LEAKS.command)
    return MadeFrom(folder=folder, key_of=key_of, commands=commands)


def images_of_predictions(folder: Path, predictions: ProbabilitySet) -> MadeFrom:
    """Return the images that the predictions in the folder of a classifier were made from."""
    maker = written_by(folder)
    command = command_line(maker) if maker else Stage.CLASSIFIER.command
    return MadeFrom(folder=folder, key_of=predictions.key_of, commands=(command,))


def stale_images(keys: Mapping[str, str], results: Sequence[MadeFrom]) -> str:
    """Return a line about images that have changed since results were made, or "".

    Args:
        keys: The keys of the images now, by id. Images that are missing here are not compared.
        results: The results.
    """
    stale = {result.folder: result for result in results if result.changed(keys)}
    if not stale:
        return ""
    changed = list(dict.fromkeys(i for result in stale.values() for i in result.changed(keys)))
    others, it, has = "", "it", "has"
    if len(changed) > 1:
        others, it, has = f" and {len(changed) - 1:,} more", "them", "have"
    commands = dict.fromkeys(command for result in stale.values() for command in result.commands)
    verb = "was" if len(stale) == 1 else "were"
    return (
        f"the image {changed[0]}{others}, or how atlas.toml reads {it}, {has} changed since "
        f"{' and '.join(map(str, stale))} {verb} written; run {' and '.join(commands)} again"
    )


def require_same_images(keys: Mapping[str, str], *results: MadeFrom) -> None:
    """Check that no image has changed since results were made, see `stale_images`.

    Raises:
        ProvenanceError: An image has changed. The text names it and the commands to run.
    """
    if line := stale_images(keys, results):
        raise ProvenanceError(line)


def require_searched(leaks: MadeFrom, test_ids: Sequence[str]) -> None:
    """Check that leaks were searched for among all test images.

    Raises:
        ProvenanceError: A test image was added later. The text names it.
    """
    new = [i for i in test_ids if i not in leaks.key_of] if leaks.key_of else []
    if new:
        said = "was" if len(new) == 1 else f"and {len(new) - 1:,} more were"
        raise ProvenanceError(
            f"the test image {new[0]} {said} added after {leaks.folder} was written; run "
            f"{' and '.join(leaks.commands)} again"
        )
