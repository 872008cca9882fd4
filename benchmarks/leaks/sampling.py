"""A part of a large atlas, so that its benchmark ends within a day."""

import shutil
from pathlib import Path

import pandas as pd

from atlas.core.errors import UserError
from atlas.core.files import write_json
from atlas.core.result_files import read_json
from atlas.core.result_folder import folder_written_beside
from atlas.dataset.artifacts import NOVEL, load_texts, save_table
from atlas.dataset.tables import TABLES
from benchmarks.leaks.plant import copy_files
from benchmarks.leaks.planting import open_source

SAMPLE_FILE = "sample.json"


def sample_atlas(data: Path, out: Path, *, labelled: int, seed: int) -> None:
    """Write an atlas of this many labelled images of `data`, chosen at random, with truth.csv.

    It has at most as many novel test images. An existing atlas is not written again.

    Raises:
        UserError: The folder contains something else.
        DataError: `data` has no truth.csv.
    """
    source = open_source(data, seed)
    stated = {"tables": source.manifest.table_hash, "labelled": labelled, "seed": seed}
    if (out / SAMPLE_FILE).exists():
        if read_json(out / SAMPLE_FILE) != stated:
            raise UserError(f"{out}: holds another sample; name another folder or remove this one")
        return
    kept = set(source.order(source.gallery, "sample")[:labelled])
    novel = set(source.order(source.test_ids(NOVEL), "sample")[:labelled])
    with folder_written_beside(out, written_by="sample") as folder:
        if (data / "atlas.toml").exists():
            shutil.copyfile(data / "atlas.toml", folder / "atlas.toml")
        copy_files((row for row in source.manifest.rows if row.id in kept | novel), folder)
        for name in ("train", "external"):
            if (data / TABLES[name]).exists():
                table = load_texts(data / TABLES[name])
                save_table(folder / TABLES[name], table[table["Id"].isin(kept)])
        truth = source.truth[source.truth["Id"].isin(novel)]
        save_table(folder / "truth.csv", truth)
        save_table(folder / TABLES["test"], pd.DataFrame({"Id": truth["Id"], "Predicted": 0}))
        write_json(folder / SAMPLE_FILE, stated)
