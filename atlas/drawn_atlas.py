"""Whole atlases of drawn cells whose every relation is known: for tests, benchmarks, rehearsals.

A drawn folder looks like a real one and also holds `truth.csv` and `drawn.json`: its settings and
a hash of its decoded pixels and tables. Equal settings give equal bytes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from tqdm import tqdm

from atlas.cells import draw_field
from atlas.channels import HPA_CHANNELS
from atlas.edits import EDITS, plant
from atlas.errors import DataError, UserError
from atlas.files import content_hash, folder_written_beside, json_text
from atlas.labels import HPA_LABELS, format_labels, parse_labels

DRAWING = 1  # raised whenever equal settings would give other pixels
CHUNK = 64
FIELDS_PER_ANTIBODY = 5
# HPA 2018 train: images that carry 1, 2, 3, 4 labels, and images of each label.
LABEL_COUNT_SHARES = (0.487, 0.402, 0.102, 0.009)
LABEL_IMAGES = (
    12885, 1254, 3621, 1561, 1858, 2513, 1008, 2822, 53, 45, 28, 1093, 688, 537,
    1066, 21, 530, 210, 902, 1482, 172, 3777, 802, 2965, 322, 8228, 328, 11,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DrawnAtlasSettings:
    """A drawn atlas. An identity is an antibody; the fields of one are siblings.

    test_fields_per_identity: test images of each identity, known and novel.
    novel_identities: antibodies that occur in test only.
    copies: test images that are edited copies of train images, every edit equally often.
    """

    identities: int = 1000
    fields_per_identity: int = 6
    size_px: int = 64
    seed: int = 0
    test_fields_per_identity: int = 2
    novel_identities: int = 1000
    copies: int = 200

    def __post_init__(self) -> None:
        if min(self.identities, self.fields_per_identity) < 1 or self.size_px < 32:
            raise UserError("drawn atlas: needs at least one identity and field, and size_px of 32")
        if min(self.test_fields_per_identity, self.novel_identities, self.copies, self.seed) < 0:
            raise UserError("drawn atlas: its numbers and seed cannot be negative")


@dataclass(frozen=True, kw_only=True)
class DrawnAtlas:
    """What lies in a drawn folder; `already_there` says that nothing had to be drawn."""

    folder: Path
    content_hash: str
    train_images: int
    test_images: int
    already_there: bool


@dataclass(frozen=True, kw_only=True)
class Antibody:
    name: str
    seed: int
    labels: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One image to draw. relation, source and edit are those of truth.csv, empty in train."""

    id: str
    split: str
    antibody: Antibody
    field_seed: int
    relation: str = ""
    source: str = ""
    edit: str = ""

    @property
    def target(self) -> str:
        return format_labels(self.antibody.labels)


def draw_atlas(settings: DrawnAtlasSettings, folder: Path, *, jobs: int) -> DrawnAtlas:
    """Draws an atlas folder, all of it or nothing; one that is already there is left as it is.

    jobs: processes. Raises UserError if `folder` exists and is not this very atlas.
    """
    stated = {"drawing": DRAWING, "kind": "atlas", **asdict(settings)}
    present = _already_there(folder, stated)
    if present is not None:
        return present
    train, test = plan_atlas(settings)
    train, test = sorted(train, key=lambda d: d.id), sorted(test, key=lambda d: d.id)
    name = f"Drawn cells, seed {settings.seed}"
    return _write(folder, train, test, stated, settings.size_px, jobs, {"atlas.toml": _toml(name)})


def draw_for_tables(
    train_table: pd.DataFrame,
    test_ids: Sequence[str],
    folder: Path,
    *,
    size_px: int,
    seed: int,
    copies_share: float = 0.026,
    siblings_share: float = 0.08,
    jobs: int,
) -> DrawnAtlas:
    """A rehearsal: draws an image for every id of real tables, in the layout of HPA 2018.

    train_table: columns Id and Target. Train images of equal label sets are dealt to antibodies of
    about five fields; of `test_ids` the given shares become copies and siblings of train images,
    the rest are of novel antibodies with the labels of random train images.
    Raises DataError for a table that cannot be drawn, UserError as `draw_atlas`.
    """
    _check_tables(train_table, test_ids)
    tables = content_hash(*train_table["Id"], *train_table["Target"], "test", *test_ids)
    shares = {"copies_share": copies_share, "siblings_share": siblings_share}
    stated = {"drawing": DRAWING, "kind": "tables", "size_px": size_px, "seed": seed}
    stated |= {"tables": tables, **shares}
    present = _already_there(folder, stated)
    if present is not None:
        return present
    rng = np.random.default_rng([seed, 1])
    train = _train_of_table(train_table, seed, rng)
    copies, siblings = (round(share * len(test_ids)) for share in shares.values())
    test = _test_of_ids(test_ids, train, copies, siblings, seed, rng)
    return _write(folder, train, test, stated, size_px, jobs, {})


def read_id_tables(train_csv: Path, test_csv: Path) -> tuple[pd.DataFrame, list[str]]:
    """The tables of `draw_for_tables` from CSV files. Raises DataError naming missing columns."""
    tables = []
    for path, columns in ((train_csv, ["Id", "Target"]), (test_csv, ["Id"])):
        if not path.is_file():
            raise DataError(str(path), ["there is no such file; name a CSV table with a column Id"])
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        missing = [f"column {column} is missing" for column in columns if column not in table]
        if missing:
            raise DataError(str(path), missing)
        tables.append(table[columns])
    return tables[0], tables[1]["Id"].tolist()


def plan_atlas(settings: DrawnAtlasSettings) -> tuple[list[Drawing], list[Drawing]]:
    """The train and the test images to draw, in no particular order."""
    rng = np.random.default_rng([settings.seed, 0])
    known = _antibodies("known", settings.identities, settings.seed, rng)
    novel = _antibodies("novel", settings.novel_identities, settings.seed, rng)
    each, extra = settings.fields_per_identity, settings.test_fields_per_identity
    train = _fields(known, "train", range(each), "", settings.seed)
    test = _fields(known, "test", range(each, each + extra), "sibling", settings.seed)
    test += _fields(novel, "test", range(extra), "novel", settings.seed)
    ids = [_opaque(settings.seed, "copy", number) for number in range(settings.copies)]
    return train, test + _copies(ids, train, rng)


def _opaque(seed: int, *what: object) -> str:
    """16 hex digits that say nothing about what they stand for."""
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
    """Gives a label that nobody has to the first holder of the commonest one, if there are 28."""
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
    """One edited copy of a random train image for each id; sources repeat once all were taken."""
    order = rng.permutation(len(train))
    names = list(EDITS)
    copies = []
    for number, copy_id in enumerate(ids):
        source, edit = train[order[number % len(order)]], names[number % len(names)]
        relation = {"relation": "same_image", "source": source.id, "edit": edit}
        copies.append(replace(source, id=copy_id, split="test", **relation))
    return copies


def _train_of_table(table: pd.DataFrame, seed: int, rng: np.random.Generator) -> list[Drawing]:
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


def _test_of_ids(
    ids: Sequence[str],
    train: list[Drawing],
    copies: int,
    siblings: int,
    seed: int,
    rng: np.random.Generator,
) -> list[Drawing]:
    shuffled = [ids[position] for position in rng.permutation(len(ids))]
    drawings = _copies(shuffled[:copies], train, rng)
    for number, image in enumerate(shuffled[copies:]):
        like = train[int(rng.integers(len(train)))].antibody
        if number >= siblings:
            kin, field = divmod(number - siblings, FIELDS_PER_ANTIBODY)
            like = like if field == 0 else drawings[-1].antibody
            like = _antibody("novel", kin, seed, like.labels)
        # Beyond every field number of train, so that no sibling is a train image drawn again.
        drawings.append(
            Drawing(
                id=image,
                split="test",
                antibody=like,
                field_seed=1_000_000 + number,
                relation="sibling" if number < siblings else "novel",
                source=like.name,
            )
        )
    by_id = {drawing.id: drawing for drawing in drawings}
    return [by_id[image] for image in ids]


def _check_tables(train: pd.DataFrame, test_ids: Sequence[str]) -> None:
    problems = [] if len(train) else ["the train table has no rows"]
    for line, (image, target) in enumerate(zip(train["Id"], train["Target"], strict=True), start=2):
        words = str(target).split()
        if not words or not all(w.isdecimal() and int(w) < len(HPA_LABELS) for w in words):
            problems.append(f"train line {line}: {image}: Target {target!r} is not of 0..27")
    ids = pd.Series([*train["Id"], *test_ids], dtype=str)
    problems += [f"id {image} occurs twice" for image in ids[ids.duplicated()]]
    unsafe = ids[~ids.str.fullmatch(r"[\w.-]+")]
    problems += [f"id {image!r} cannot be a file name" for image in unsafe]
    if problems:
        raise DataError("tables to draw", problems)


def _already_there(folder: Path, stated: Mapping[str, object]) -> DrawnAtlas | None:
    if not folder.exists():
        return None
    notes = folder / "drawn.json"
    found = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}
    if found.get("settings") != stated:
        what = "other settings drew it" if found else "it is no finished drawn atlas"
        raise UserError(f"{folder}: exists and {what}; name another folder or remove this one")
    return DrawnAtlas(
        folder=folder,
        content_hash=found["content_hash"],
        train_images=found["train_images"],
        test_images=found["test_images"],
        already_there=True,
    )


def _write(
    folder: Path,
    train: list[Drawing],
    test: list[Drawing],
    stated: Mapping[str, object],
    size_px: int,
    jobs: int,
    texts: Mapping[str, str],
) -> DrawnAtlas:
    tables = _tables(train, test)
    with folder_written_beside(folder) as beside:
        for split in ("train", "test"):
            (beside / split).mkdir()
        pixels = _draw_all([*train, *test], beside, size_px, jobs)
        in_id_order = [f"{image} {pixels[image]}" for image in sorted(pixels)]
        notes = {
            "settings": stated,
            "content_hash": content_hash(*in_id_order, *tables.values(), *texts.values()),
            "train_images": len(train),
            "test_images": len(test),
        }
        for name, text in {**tables, **texts, "drawn.json": json_text(notes)}.items():
            (beside / name).write_text(text, encoding="utf-8")
    return DrawnAtlas(
        folder=folder,
        content_hash=str(notes["content_hash"]),
        train_images=len(train),
        test_images=len(test),
        already_there=False,
    )


def _tables(train: list[Drawing], test: list[Drawing]) -> dict[str, str]:
    """The text of each CSV table by its file's name."""
    known = [(d.id, d.target, d.antibody.name) for d in train]
    wanted = [(d.id, 0) for d in test]
    truth = [(d.id, d.relation, d.source, d.edit, d.target) for d in test]
    tables = {
        "train.csv": pd.DataFrame(known, columns=["Id", "Target", "Identity"]),
        "sample_submission.csv": pd.DataFrame(wanted, columns=["Id", "Predicted"]),
        "truth.csv": pd.DataFrame(truth, columns=["Id", "relation", "source", "edit", "Target"]),
    }
    return {name: t.to_csv(index=False, lineterminator="\n") for name, t in tables.items()}


def _draw_all(drawings: list[Drawing], folder: Path, size_px: int, jobs: int) -> dict[str, str]:
    """Draws and writes every image; the hash of each one's pixels by its id."""
    chunks = [drawings[start : start + CHUNK] for start in range(0, len(drawings), CHUNK)]
    work = (delayed(_draw_chunk)(chunk, folder, size_px) for chunk in chunks)
    pixels: dict[str, str] = {}
    with tqdm(total=len(drawings), desc="draw", unit="field", disable=None) as bar:
        for done in Parallel(n_jobs=jobs, return_as="generator")(work):
            pixels |= done
            bar.update(len(done))
    return pixels


def _draw_chunk(chunk: list[Drawing], folder: Path, size_px: int) -> dict[str, str]:
    hashes = {}
    for drawing in chunk:
        image = _image(drawing, size_px)
        for channel, plane in zip(HPA_CHANNELS, image, strict=True):
            path = folder / drawing.split / f"{drawing.id}_{channel}.png"
            if not cv2.imwrite(str(path), plane):
                raise OSError(f"{path}: cannot be written")
        hashes[drawing.id] = content_hash(image)
    return hashes


def _image(drawing: Drawing, size_px: int) -> NDArray[np.uint8]:
    image = draw_field(
        antibody_seed=drawing.antibody.seed,
        field_seed=drawing.field_seed,
        labels=drawing.antibody.labels,
        size_px=size_px,
    )
    if not drawing.edit:
        return image
    # The copy's id is its seed: a source that is copied twice by one edit gives two images.
    seed = hashlib.sha256(drawing.id.encode()).digest()
    return plant(image, drawing.edit, np.random.default_rng(list(seed)))


def _toml(name: str) -> str:
    # A JSON string of plain text is a TOML string too.
    listed = "".join(f"  {json.dumps(label)},\n" for label in HPA_LABELS)
    return (
        f"name = {json.dumps(name)}\nchannels = {json.dumps(HPA_CHANNELS)}\n"
        f'file_pattern = "{{id}}_{{channel}}.png"\nlabels = [\n{listed}]\n'
    )
