"""An atlas folder with planted copies, whose every relation is known.

python -m benchmarks.leaks.plant --data ATLAS --hardness hard --share 0.25 --out D
"""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pandas as pd
import tyro

from atlas.cli.failures import errors_in_one_line
from atlas.core.errors import UserError
from atlas.core.files import write_json
from atlas.core.result_files import read_json
from atlas.core.result_folder import folder_written_beside
from atlas.dataset.artifacts import NOVEL, SAME_IMAGE, SIBLING, load_table, save_table
from atlas.dataset.manifest import ImageRow
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.tables import TABLES
from benchmarks.leaks.edits import Hardness, Pixels, in_words
from benchmarks.leaks.planting import WILD, Planted, Source, copies, open_source, wild_copies
from benchmarks.leaks.special import special_cases

PLANTED_FILE = "planted.json"
Kind = Literal[Hardness, "wild", "special", "natural"]
# In 2018 some 6,000 of 105,000 labelled images were copies of others: about a tenth had one.
GALLERY_SHARE = 0.03


def main(
    data: Path,
    hardness: Kind,
    out: Path,
    share: float = 0.25,
    gallery_share: float = GALLERY_SHARE,
    seed: int = 0,
) -> None:
    """Plant edited copies of the labelled images of an atlas among its novel test images.

    Args:
        data: an atlas folder with truth.csv; its labelled images are the gallery.
        hardness: of the edits, or special cases; natural plants nothing and keeps the atlas's own
            test images, whose truth.csv says which are copies.
        out: the new atlas folder: truth.csv says of test images, planted.csv of every edit.
        share: copies for each labelled image; above 1 the images come round again.
        gallery_share: of special cases, labelled images that get a copy among the labelled ones
            with their own labels, and as many that get one with others.
        seed: which images, edits and values.
    """
    counts = plant_atlas(data, hardness, out, share=share, gallery_share=gallery_share, seed=seed)
    print(f"{out}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


def plant_atlas(
    data: Path,
    hardness: Kind,
    out: Path,
    *,
    share: float,
    gallery_share: float = GALLERY_SHARE,
    seed: int,
) -> dict[str, int]:
    """Counts of what lies in `out`, which is left as it is where it is this very atlas already.

    Raises UserError for a folder of anything else, DataError as `open_source`.
    """
    source = open_source(data, seed)
    stated = {
        "atlas": source.manifest.spec.name,
        "tables": source.manifest.table_hash,
        "hardness": hardness,
        "share": share,
        "gallery_share": gallery_share,
        "seed": seed,
    }
    if (out / PLANTED_FILE).exists():
        return _counts_there(out, stated)
    planted: list[Planted]
    if hardness == "natural":
        planted, kept = [], [str(i) for i in source.truth["Id"]]
    elif hardness == "special":
        planted = list(special_cases(source, share, gallery_share))
        kept = source.test_ids(NOVEL, SIBLING)
    else:
        made = wild_copies(source, share) if hardness == WILD else copies(source, hardness, share)
        planted = list(made)
        kept = source.test_ids(NOVEL)
    with folder_written_beside(out, written_by="plant") as folder:
        counts = write_atlas(folder, source, planted, kept)
        write_json(folder / PLANTED_FILE, {"settings": stated, "counts": counts})
    return counts


def write_atlas(
    folder: Path, source: Source, planted: Sequence[Planted], kept: Sequence[str]
) -> dict[str, int]:
    """kept: test images of the source that stay as they are."""
    by_id = source.manifest.by_id
    copy_files([*source.manifest.labelled.rows, *(by_id[i] for i in kept)], folder)
    for image in planted:
        write_image(folder / image.split, image.id, image.pixels, source.manifest.spec)
    if (source.data / "atlas.toml").exists():
        shutil.copyfile(source.data / "atlas.toml", folder / "atlas.toml")
    truth = truth_table(source, planted, kept)
    save_table(folder / "truth.csv", truth)
    save_table(folder / TABLES["test"], pd.DataFrame({"Id": truth["Id"], "Predicted": 0}))
    save_table(folder / "planted.csv", planted_table(planted))
    _labelled_tables(folder, source, [image for image in planted if image.split == "train"])
    return {
        "labelled images": len(source.gallery) + sum(p.split == "train" for p in planted),
        "copies": int((truth["relation"] == SAME_IMAGE).sum()),
        "other test images": int((truth["relation"] != SAME_IMAGE).sum()),
    }


def truth_table(source: Source, planted: Iterable[Planted], kept: Sequence[str]) -> pd.DataFrame:
    """Id, relation, source, edit, Target of every test image, in the order of ids."""
    columns = ["Id", "relation", "source", "edit", "Target"]
    as_they_are = source.truth.set_index("Id").loc[list(kept)]
    rows = [(i, row["relation"], *_origin(row), row["Target"]) for i, row in as_they_are.iterrows()]
    rows += [(p.id, p.relation, p.source, p.edit, p.target) for p in planted if p.split == "test"]
    return pd.DataFrame(sorted(map(tuple, rows)), columns=columns)


def _origin(row: pd.Series) -> tuple[str, str]:
    """Source and edit of a copy that the atlas itself declares."""
    return (row["source"], row["edit"]) if row["relation"] == SAME_IMAGE else ("", "")


def planted_table(planted: Iterable[Planted]) -> pd.DataFrame:
    """Return a row for each planted image, with what its edit drew and pasted."""
    rows = [
        (p.id, p.split, p.source, p.edit, in_words(p.said), " ".join(p.others)) for p in planted
    ]
    return pd.DataFrame(rows, columns=["Id", "split", "source", "edit", "values", "others"])


def write_image(folder: Path, image_id: str, pixels: Pixels, spec: AtlasSpec) -> None:
    """A file for each channel: PNG, or TIFF where there are 16 bits."""
    folder.mkdir(parents=True, exist_ok=True)
    ending = ".tif" if pixels.dtype == np.uint16 else ".png"
    for channel, plane in zip(spec.channels, pixels, strict=True):
        path = folder / (spec.file_stem(image_id, channel) + ending)
        if not cv2.imwrite(str(path), plane):
            raise OSError(f"{path}: cannot be written")


def copy_files(rows: Iterable[ImageRow], folder: Path) -> None:
    """The images as they are, to the folders of their splits."""
    for row in rows:
        (folder / row.split).mkdir(exist_ok=True)
        for file in row.files:
            shutil.copyfile(file, folder / row.split / file.name)


def _labelled_tables(folder: Path, source: Source, twins: Sequence[Planted]) -> None:
    if (source.data / TABLES["external"]).exists():
        shutil.copyfile(source.data / TABLES["external"], folder / TABLES["external"])
    table = load_table(source.data / TABLES["train"])
    more = pd.DataFrame({"Id": [p.id for p in twins], "Target": [p.target for p in twins]})
    save_table(folder / TABLES["train"], pd.concat([table, more]).fillna(""))


def _counts_there(out: Path, stated: dict[str, object]) -> dict[str, int]:
    there = read_json(out / PLANTED_FILE)
    if there["settings"] != stated:
        raise UserError(f"{out}: other settings planted it; name another folder or remove this one")
    return dict(there["counts"])


if __name__ == "__main__":
    with errors_in_one_line():
        tyro.cli(main)
