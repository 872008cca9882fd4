"""Which image of a group of copies people have chosen to stay.

A choice names an image, and holds in every group that the image is in now. So it still holds after
images were added to the group or removed from it.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from atlas.dataset.verdicts import WITHDRAWN, Choice, Verdicts, by_time


@dataclass(frozen=True, kw_only=True)
class ChosenImage:
    """What people have chosen in a group.

    Attributes:
        image_id: The image that stays, or "" if reviewers disagree.
        reviewers: The names of those who have chosen, sorted.
    """

    image_id: str
    reviewers: tuple[str, ...]

    @property
    def names(self) -> str:
        """The names of the reviewers in words."""
        *most, last = [name or "a reviewer" for name in self.reviewers]
        return f"{', '.join(most)} and {last}" if most else last


def chosen_images(
    said: Verdicts, groups: Mapping[str, str], key_of: Mapping[str, str]
) -> dict[str, ChosenImage]:
    """Return what people have chosen in groups of copies, by group.

    The latest word of a reviewer about an image of a group counts. If that is a withdrawal, or
    there is none, the reviewer has chosen nothing in this group.

    Args:
        said: All that people have said.
        groups: The group of each image that has copies, by id.
        key_of: The key of each image, by id, see `image_keys.py`.
    """
    found = {}
    for group, image_of in latest_words(said, groups, key_of).items():
        images = {reviewer: image_id for reviewer, image_id in image_of.items() if image_id}
        if images:
            agreed = set(images.values())
            found[group] = ChosenImage(
                image_id=agreed.pop() if len(agreed) == 1 else "", reviewers=tuple(sorted(images))
            )
    return found


def latest_words(
    said: Verdicts, groups: Mapping[str, str], key_of: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return the image that each reviewer wants to stay, by group; "" if they have withdrawn it.

    Args:
        said: All that people have said.
        groups: The group of each image that has copies, by id.
        key_of: The key of each image, by id, see `image_keys.py`.
    """
    ids_of: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for image_id, group in groups.items():
        ids_of[key_of[image_id]][group].append(image_id)
    latest: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for choice in by_time(said.choices):
        for group, ids in ids_of.get(choice.key, {}).items():
            latest[group][choice.reviewer] = _meant(choice, ids)
    return dict(latest)


def _meant(choice: Choice, ids: list[str]) -> str:
    """Return the image of a choice among those with its key, or "" if it was withdrawn.

    Copies with equal files have equal keys, so the name decides, and if it is gone, the order.
    """
    if choice.choice == WITHDRAWN:
        return ""
    return choice.id if choice.id in ids else ids[0]
