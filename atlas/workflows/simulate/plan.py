"""The plan of a simulated test: which labelled images become test images with known relations.

Axes: G groups of images that belong together, C labels.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.dataset.artifacts import NOVEL, SAME_IMAGE, SIBLING
from atlas.dataset.manifest import ImageRow, Manifest
from atlas.dataset.splits.hold_out import grouped_ids, held_out_groups, ids_of, labels_of_groups
from atlas.dataset.splits.label_folds import spread
from atlas.synthetic.edits import EDITS
from atlas.workflows.settings import SimulationSettings

KEPT_OF_IDENTITY = 2  # an identity that occurs only once counts as unknown
LEAST_SIDE_PX = 32  # smaller images cannot be edited
WHY_FEWER = {
    NOVEL: "groups are not divided",
    SIBLING: f"an identity must keep {KEPT_OF_IDENTITY} images, and every label one",
    SAME_IMAGE: f"images below {LEAST_SIDE_PX} px are not edited",
}

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TestImage:
    """A test image of the simulation.

    Attributes:
        id: The id of the test image.
        original: The labelled image that it is, or is a copy of.
        relation, source, edit: The columns of truth.csv.
    """

    id: str
    original: str
    relation: str
    source: str
    edit: str = ""


@dataclass(frozen=True, kw_only=True)
class SimulationPlan:
    """The plan of a simulated test.

    Attributes:
        test: The test images, in the order of ids.
        training_ids: The images that stay labelled, sorted.
        said: Sentences about requests that could not be met.
    """

    test: tuple[TestImage, ...]
    training_ids: tuple[str, ...]
    said: tuple[str, ...]

    def count(self, relation: str) -> int:
        """Return the number of test images with this relation."""
        return sum(image.relation == relation for image in self.test)


def plan_simulation(manifest: Manifest, settings: SimulationSettings) -> SimulationPlan:
    """Plan a simulated test.

    The result depends only on ids, labels, identities, groups and settings. Novel images are whole
    groups, so that no image of their identity stays labelled. If no group fits, there are fewer of
    them than requested, by less than the size of a group. A sibling is not in a group of
    duplicates, and its identity keeps two labelled images. The source of a copy stays labelled.
    Every label is on both sides if possible.

    Args:
        manifest: The atlas.
        settings: The shares of each relation.

    Raises:
        UserError: Images were made from others, or no groups can be held out.
    """
    _require_originals(manifest)
    wanted = _wanted(manifest, settings)
    rng = np.random.default_rng([settings.seed, 2])
    others = _others(manifest, wanted[NOVEL], settings.seed, rng)
    in_order = sorted(manifest.labelled.rows, key=lambda row: row.id)
    left = _without(in_order, others)
    siblings = _siblings(left, wanted[SIBLING], manifest, rng)
    stay = _without(left, siblings)
    sources = _sources(stay, wanted[SAME_IMAGE], rng)
    test = [_held_out(manifest.by_id[i], NOVEL, settings.seed) for i in others]
    test += [_held_out(manifest.by_id[i], SIBLING, settings.seed) for i in siblings]
    test += [_copy(number, image, settings.seed) for number, image in enumerate(sources)]
    test = [_named(image, manifest) for image in test]
    found = {NOVEL: len(others), SIBLING: len(siblings), SAME_IMAGE: len(sources)}
    return SimulationPlan(
        test=tuple(sorted(test, key=lambda image: image.id)),
        training_ids=tuple(row.id for row in stay),
        said=tuple(_said(manifest, wanted, found)),
    )


def _require_originals(manifest: Manifest) -> None:
    made = [row for row in manifest.labelled.rows if row.parent is not None]
    if made:
        raise UserError(
            f"{made[0].id} was made from {made[0].parent}, and {len(made) - 1} more images were "
            "made from others; simulate a test of the atlas without them, then make them again"
        )


def _wanted(manifest: Manifest, settings: SimulationSettings) -> dict[str, int]:
    total = round(settings.test_share * len(manifest.labelled.rows))
    copies = round(settings.copies_share * total)
    siblings = round(settings.siblings_share * total) if manifest.repeated_identities else 0
    return {SAME_IMAGE: copies, SIBLING: siblings, NOVEL: total - copies - siblings}


def _without(rows: Sequence[ImageRow], ids: Sequence[str]) -> list[ImageRow]:
    gone = set(ids)
    return [row for row in rows if row.id not in gone]


def _others(
    manifest: Manifest, wanted: int, seed: int, rng: np.random.Generator
) -> tuple[str, ...]:
    groups = grouped_ids(manifest)
    if wanted < 1 or len(groups) < 2:
        raise UserError(
            f"{wanted} images cannot be held out of {len(groups)} groups with others left; "
            "give another share, or more images"
        )
    labels_GC = labels_of_groups(manifest, groups)
    sizes_G = np.array([len(ids) for ids in groups])
    out_G = held_out_groups(labels_GC, wanted / sizes_G.sum(), seed)
    out_G = spread(out_G.astype(np.int64), labels_GC, 2).astype(bool)
    out_G = fitted(out_G, sizes_G, labels_GC, wanted, rng.permutation(len(groups)))
    if not out_G.any():
        raise UserError(
            f"none of {len(groups)} groups can be held out: the test should have {wanted} novel "
            f"images, the smallest group has {sizes_G.min()}, and every label must keep images; "
            "give a larger --test-share"
        )
    return ids_of(groups, out_G)


def fitted(
    out_G: Mask,
    sizes_G: NDArray[np.int64],
    labels_GC: Mask,
    wanted: int,
    order: Sequence[int] | NDArray[np.int64],
) -> Mask:
    """Return the groups that are held out, with `wanted` images or as few less as possible.

    First, groups are returned that have no label's last group, and then any groups. After that,
    groups are held out that fit and that leave another group of each of their labels.
    """
    out_G = out_G.copy()
    for sparing in (True, False):
        for g in order:
            if not out_G[g] or sizes_G[out_G].sum() <= wanted:
                continue
            if not (sparing and _has_a_last_label(g, out_G, labels_GC)):
                out_G[g] = False
    room = wanted - int(sizes_G[out_G].sum())
    for g in order:
        if not out_G[g] and sizes_G[g] <= room and not _has_a_last_label(g, ~out_G, labels_GC):
            out_G[g] = True
            room -= int(sizes_G[g])
    return out_G


def _has_a_last_label(g: int, side_G: Mask, labels_GC: Mask) -> bool:
    """Return whether the group has a label that no other group of its side has."""
    return bool((labels_GC[side_G][:, labels_GC[g]].sum(axis=0) == 1).any())


def _siblings(
    left: Sequence[ImageRow], wanted: int, manifest: Manifest, rng: np.random.Generator
) -> list[str]:
    """Return siblings: one of each identity, then a second one of each, and so on."""
    duplicates = Counter(row.group for row in manifest.labelled.rows if row.group)
    stay_of_identity = Counter(row.identity for row in left)
    stay_of_label = Counter(label for row in left for label in row.labels or ())
    free = [row for row in left if row.identity and duplicates.get(row.group or "", 0) < 2]
    found: list[str] = []
    for row in _one_of_each_first([free[n] for n in rng.permutation(len(free))]):
        keeps = stay_of_identity[row.identity] > KEPT_OF_IDENTITY
        labels_stay = all(stay_of_label[label] > 1 for label in row.labels or ())
        if len(found) < wanted and keeps and labels_stay:
            found.append(row.id)
            stay_of_identity[row.identity] -= 1
            stay_of_label.subtract(row.labels or ())
    return found


def _one_of_each_first(rows: Sequence[ImageRow]) -> list[ImageRow]:
    """Return the rows, the first of each identity first, then the second of each, and so on."""
    identities = pd.Series([row.identity for row in rows], dtype=object)
    order = identities.groupby(identities).cumcount().argsort(kind="stable")
    return [rows[n] for n in order]


def _sources(stay: Sequence[ImageRow], wanted: int, rng: np.random.Generator) -> list[str]:
    """Return the sources of copies; images repeat only after all were used once."""
    large = [row.id for row in stay if min(row.width_px, row.height_px) >= LEAST_SIDE_PX]
    order = rng.permutation(len(large))
    return [large[order[n % len(large)]] for n in range(wanted if large else 0)]


def _held_out(row: ImageRow, relation: str, seed: int) -> TestImage:
    return TestImage(
        id=_opaque_id(seed, "image", row.id), original=row.id, relation=relation,
        source=row.identity or "",
    )  # fmt: skip


def _copy(number: int, source: str, seed: int) -> TestImage:
    return TestImage(
        id=_opaque_id(seed, "copy", number), original=source, relation=SAME_IMAGE, source=source,
        edit=list(EDITS)[number % len(EDITS)],
    )  # fmt: skip


def _named(image: TestImage, manifest: Manifest) -> TestImage:
    """Give a test image the suffix of its file if ids are paths; copies are PNG."""
    if not manifest.spec.by_path:
        return image
    copied = image.relation == SAME_IMAGE
    return replace(image, id=image.id + (".png" if copied else PurePath(image.original).suffix))


def _opaque_id(seed: int, *what: object) -> str:
    """Return 16 hexadecimal digits that reveal nothing about the image."""
    return hashlib.sha256("/".join(map(str, ("simulated", seed, *what))).encode()).hexdigest()[:16]


def _said(manifest: Manifest, wanted: dict[str, int], found: dict[str, int]) -> list[str]:
    said = []
    if not manifest.repeated_identities:
        said.append("no identity occurs twice, so there are no siblings, and novel images may "
                    "share an antibody with labelled images")  # fmt: skip
    elif unknown := sum(row.identity is None for row in manifest.labelled.rows):
        said.append(f"{unknown} images have no identity; each counts as an identity of its own")
    for relation, count in wanted.items():
        if found[relation] < count:
            said.append(f"{relation}: {found[relation]} of {count} requested images were found, "
                        f"because {WHY_FEWER[relation]}")  # fmt: skip
    return said
