"""Groups of copies among the labelled images, of which a person chooses the image that stays."""

import logging
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from atlas.core.errors import command_line
from atlas.core.files import content_hash
from atlas.core.result_files import was_written
from atlas.dataset.artifacts import load_table
from atlas.dataset.manifest import Manifest
from atlas.workflows.made_from import saved_images
from atlas.workflows.run_folder import COPIES_FILE
from index.claims.duplicates import originals_of

LOGGER = logging.getLogger(__name__)

Row = Mapping[Hashable, Any]


@dataclass(frozen=True, kw_only=True)
class CopyToReview:
    """An image of a group of copies.

    Attributes:
        image_id: The id of the image.
        split: Its split, train or external.
        labels: Its labels now.
        width_px, height_px: The size of its files.
        measured: What the policy measured on it, in words, or "".
        made_from: The image of the group from which it was made, or "". It cannot replace that one.
    """

    image_id: str
    split: str
    labels: tuple[int, ...]
    width_px: int
    height_px: int
    measured: str
    made_from: str


@dataclass(frozen=True, kw_only=True)
class GroupToReview:
    """Labelled images that show one field.

    Attributes:
        copies: The images, in the order of the tables.
        policy: The id of the image that the policy keeps.
        reason: Why the policy keeps it.
    """

    copies: tuple[CopyToReview, ...]
    policy: str
    reason: str

    @property
    def name(self) -> str:
        """The name in addresses. It changes with the images of the group."""
        return content_hash("group", *self.ids)[:16]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids of the images."""
        return tuple(one.image_id for one in self.copies)

    @cached_property
    def by_id(self) -> dict[str, CopyToReview]:
        """The images by id."""
        return {one.image_id: one for one in self.copies}

    @property
    def label_sets(self) -> int:
        """The number of different label sets."""
        return len({frozenset(one.labels) for one in self.copies})

    @property
    def usefulness(self) -> float:
        """How useful a choice is: more where labels differ, then where there are more images."""
        return self.label_sets - 1 / len(self.copies)


def has_groups(folder: Path) -> bool:
    """Return whether remove-duplicates has written groups of copies into a folder."""
    return was_written(folder / COPIES_FILE)


def read_copies(folder: Path) -> list[Row]:
    """Return the rows of copies.csv in the folder of duplicates, or none without that file."""
    if not has_groups(folder):
        return []
    return list(load_table(folder / COPIES_FILE).to_dict("records"))


def groups_of(
    copies: Sequence[Row], folder: Path, manifest: Manifest, key_of: Mapping[str, str]
) -> tuple[GroupToReview, ...]:
    """Return the groups of copies that remove-duplicates found.

    Images that have been removed since then are left out. A group is left out if one of its images
    shows something else now, or if the one that the policy keeps was removed.

    Args:
        copies: What `read_copies` returns.
        folder: The folder that remove-duplicates wrote.
        manifest: These images, if their files are there.
        key_of: Their keys now, by id.
    """
    then = saved_images(folder)
    rows_of: defaultdict[str, list[Row]] = defaultdict(list)
    for row in copies:
        if row["id"] in key_of:
            rows_of[row["group"]].append(row)
    several = [rows for rows in rows_of.values() if len(rows) > 1]
    valid = [rows for rows in several if _is_valid(rows, then, key_of)]
    if len(valid) < len(several):
        LOGGER.warning(
            f"groups of copies that are left out, because an image has changed since {folder} was "
            f"written: {len(several) - len(valid):,}; run {command_line('remove_duplicates')} again"
        )
    return tuple(_group(rows, manifest) for rows in valid)


def _is_valid(rows: Sequence[Row], then: Mapping[str, str], key_of: Mapping[str, str]) -> bool:
    ids = [row["id"] for row in rows]
    same = all(then.get(i, key_of[i]) == key_of[i] for i in ids)
    return same and rows[0]["kept_by_policy"] in ids


def _group(rows: Sequence[Row], manifest: Manifest) -> GroupToReview:
    ids = [row["id"] for row in rows]
    parents = {i: parent for i in ids if (parent := manifest.by_id[i].parent)}
    originals = set(originals_of(ids, parents))
    return GroupToReview(
        copies=tuple(
            CopyToReview(
                image_id=row["id"],
                split=manifest.by_id[row["id"]].split,
                labels=manifest.by_id[row["id"]].labels or (),
                width_px=int(row["width_px"]),
                height_px=int(row["height_px"]),
                measured=row["measured"],
                made_from="" if row["id"] in originals else parents[row["id"]],
            )
            for row in rows
        ),
        policy=rows[0]["kept_by_policy"],
        reason=rows[0]["reason"],
    )
