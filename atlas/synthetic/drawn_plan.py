"""The plan of a drawn atlas: its antibodies, their images, and the relations of its test images."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from atlas.dataset.artifacts import NOVEL, SAME_IMAGE, SIBLING
from atlas.dataset.hpa import HPA_LABELS
from atlas.dataset.labels import format_labels, parse_labels
from atlas.synthetic.edits import EDITS
from atlas.synthetic.settings import DrawnAtlasSettings

FIELDS_PER_ANTIBODY = 5
# HPA 2018 train: shares of images with 1, 2, 3 and 4 labels, and the number of images per label.
LABEL_COUNT_SHARES = (0.487, 0.402, 0.102, 0.009)
LABEL_IMAGES = (
    12885, 1254, 3621, 1561, 1858, 2513, 1008, 2822, 53, 45, 28, 1093, 688, 537,
    1066, 21, 530, 210, 902, 1482, 172, 3777, 802, 2965, 322, 8228, 328, 11,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Antibody:
    """An antibody with its name, seed and labels."""

    name: str
    seed: int
    labels: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """An image to draw.

    Attributes:
        id: The id of the image.
        split: The split of the image.
        antibody: The antibody.
        field_seed: The seed of the image.
        relation: The relation in truth.csv, empty in train, as the other columns.
        source: The image or antibody to which the image is related.
        edit: The edit of a copy.
    """

    id: str
    split: str
    antibody: Antibody
    field_seed: int
    relation: str = ""
    source: str = ""
    edit: str = ""

    @property
    def target(self) -> str:
        """The labels as the text of a table's cell."""
        return format_labels(self.antibody.labels)


def plan_atlas(settings: DrawnAtlasSettings) -> tuple[list[Drawing], list[Drawing]]:
    """Return the train and test images to draw, in no particular order."""
    rng = np.random.default_rng([settings.seed, 0])
    known = _antibodies("known", settings.identities, settings.seed, rng)
    novel = _antibodies("novel", settings.novel_identities, settings.seed, rng)
    each, extra = settings.fields_per_identity, settings.test_fields_per_identity
    train = _fields(known, "train", range(each), "", settings.seed)
    test = _fields(known, "test", range(each, each + extra), SIBLING, settings.seed)
    test += _fields(novel, "test", range(extra), NOVEL, settings.seed)
    ids = [_opaque(settings.seed, "copy", number) for number in range(settings.copies)]
    return train, test + _copies(ids, train, rng)


def _opaque(seed: int, *what: object) -> str:
    """Return 16 hex digits that reveal nothing about the arguments."""
    return hashlib.sha256("/".join(map(str, (seed, *what))).encode()).hexdigest()[:16]


def _antibody(kind: str, number: int, seed: int, labels: tuple[int, ...]) -> Antibody:
    name = _opaque(seed, "antibody", kind, number)
    return Antibody(name=name, seed=int(_opaque(seed, "style", kind, number), 16), labels=labels)


def _antibodies(kind: str, number: int, seed: int, rng: np.random.Generator) -> list[Antibody]:
    labels = _with_every_label([_random_labels(rng) for _ in range(number)])
    return [_antibody(kind, each, seed, labels[each]) for each in range(number)]


def _random_labels(rng: np.random.Generator) -> tuple[int, ...]:
    count = 1 + int(rng.choice(len(LABEL_COUNT_SHARES), p=LABEL_COUNT_SHARES))
    odds = np.array(LABEL_IMAGES) / sum(LABEL_IMAGES)
    return tuple(int(label) for label in rng.choice(len(odds), count, replace=False, p=odds))


def _with_every_label(labels: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Give each missing label to the first antibody with the most common label.

    With fewer than 28 antibodies, nothing is changed.
    """
    labels = list(labels)
    for missing in range(len(HPA_LABELS) if len(labels) >= len(HPA_LABELS) else 0):
        counts = np.bincount([x for some in labels for x in some], minlength=len(HPA_LABELS))
        if counts[missing] == 0:
            common = int(counts.argmax())
            holder = next(i for i, some in enumerate(labels) if common in some)
            labels[holder] = tuple(missing if x == common else x for x in labels[holder])
    return labels


def _fields(
    antibodies: list[Antibody], split: str, numbers: range, relation: str, seed: int
) -> list[Drawing]:
    return [
        Drawing(
            id=_opaque(seed, "field", antibody.name, number),
            split=split,
            antibody=antibody,
            field_seed=number,
            relation=relation,
            source=antibody.name if relation else "",
        )
        for antibody in antibodies
        for number in numbers
    ]


def _copies(ids: Sequence[str], train: list[Drawing], rng: np.random.Generator) -> list[Drawing]:
    """Plan one edited copy of a random train image for each id.

    Sources repeat after all were used.
    """
    order = rng.permutation(len(train))
    names = list(EDITS)
    copies = []
    for number, copy_id in enumerate(ids):
        source, edit = train[order[number % len(order)]], names[number % len(names)]
        relation = {"relation": SAME_IMAGE, "source": source.id, "edit": edit}
        copies.append(replace(source, id=copy_id, split="test", **relation))
    return copies


def plan_train_table(table: pd.DataFrame, seed: int, rng: np.random.Generator) -> list[Drawing]:
    """Plan the train images of a table with the columns Id and Target.

    Images with equal labels share antibodies of about FIELDS_PER_ANTIBODY images.
    """
    drawings: dict[str, Drawing] = {}
    sets = table["Target"].map(lambda target: tuple(sorted(parse_labels(target))))
    number = 0
    for _, group in table.groupby(sets, sort=True):
        rows = rng.permutation(len(group))
        for part in np.array_split(rows, max(1, round(len(rows) / FIELDS_PER_ANTIBODY))):
            for field, row in enumerate(part):
                labels = parse_labels(group["Target"].iloc[row])
                antibody = _antibody("known", number, seed, labels)
                image = group["Id"].iloc[row]
                drawings[image] = Drawing(
                    id=image, split="train", antibody=antibody, field_seed=field
                )
            number += 1
    return [drawings[image] for image in table["Id"]]


def plan_test_ids(
    ids: Sequence[str],
    train: list[Drawing],
    copies: int,
    siblings: int,
    seed: int,
    rng: np.random.Generator,
) -> list[Drawing]:
    """Plan the test images of real ids: copies and siblings of train images, and novel images.

    Args:
        ids: The ids of the test images.
        train: The train images.
        copies: The number of copies.
        siblings: The number of siblings.
        seed: The seed of novel antibodies.
        rng: The random generator.
    """
    shuffled = [ids[position] for position in rng.permutation(len(ids))]
    drawings = _copies(shuffled[:copies], train, rng)
    for number, image in enumerate(shuffled[copies:]):
        like = train[int(rng.integers(len(train)))].antibody
        if number >= siblings:
            kin, field = divmod(number - siblings, FIELDS_PER_ANTIBODY)
            like = like if field == 0 else drawings[-1].antibody
            like = _antibody("novel", kin, seed, like.labels)
        # These numbers are larger than those of train, so no sibling equals a train image.
        drawings.append(
            Drawing(
                id=image,
                split="test",
                antibody=like,
                field_seed=1_000_000 + number,
                relation=SIBLING if number < siblings else NOVEL,
                source=like.name,
            )
        )
    by_id = {drawing.id: drawing for drawing in drawings}
    return [by_id[image] for image in ids]
