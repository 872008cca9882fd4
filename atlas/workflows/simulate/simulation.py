"""A simulated atlas: test images with known relations, made from the labelled images of another."""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from atlas.core.errors import UserError
from atlas.core.files import write_json
from atlas.core.locks import writes
from atlas.core.progress import tracked
from atlas.core.result_folder import check_replaceable, folder_written_beside
from atlas.dataset.artifacts import SAME_IMAGE, save_table
from atlas.dataset.atlas_folder import write_tables_of
from atlas.dataset.image_files import link_or_copy, made_places, own_places, read_row, write_field
from atlas.dataset.labels import format_labels
from atlas.dataset.manifest import LABELLED, Manifest, read_manifest
from atlas.dataset.table_file import read_frame
from atlas.dataset.tables import CORRECTIONS_TABLE, GROUPS_TABLE, TABLES
from atlas.dataset.truth import TRUTH_COLUMNS, TRUTH_FILE
from atlas.synthetic.edits import plant
from atlas.workflows.settings import SimulationSettings
from atlas.workflows.simulate.plan import SimulationPlan, TestImage, plan_simulation

NOTES_FILE = "simulated.json"


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A simulated atlas.

    Attributes:
        plan: The images that stay labelled and those that are tested.
        labels_in: The number of labelled and tested images of each label, by name.
    """

    plan: SimulationPlan
    labels_in: dict[str, tuple[int, int]]


@writes("out")
def simulate_test(data: Path, out: Path, settings: SimulationSettings) -> Simulation:
    """Write the atlas folder `out` with truth.csv and simulated.json, completely or not at all.

    Images are linked, or copied if they cannot be linked; edited copies are PNG.

    Raises:
        DataError: The data folder has problems.
        UserError: `out` contains something else, or no test can be planned.
    """
    if out.resolve() == data.resolve():
        raise UserError(f"{out} is the atlas itself; give another --out")
    check_replaceable(out, "simulate_test")
    manifest = read_manifest(data)
    plan = plan_simulation(manifest, settings)
    done = Simulation(plan=plan, labels_in=_labels_in(manifest, plan))
    with folder_written_beside(out, written_by="simulate_test") as folder:
        _write_tables(data, folder, manifest, plan)
        _write_images(folder, manifest, plan)
        notes = {
            "settings": settings,
            "source_tables": manifest.table_hash,
            "images": {relation: plan.count(relation) for relation in _relations(plan)},
            "labelled_images": len(plan.training_ids),
            "labels_trained_and_tested": done.labels_in,
            "said": plan.said,
            "original_of": {image.id: image.original for image in plan.test},
        }
        write_json(folder / NOTES_FILE, notes)
    return done


def _relations(plan: SimulationPlan) -> list[str]:
    return sorted({image.relation for image in plan.test})


def _labels_in(manifest: Manifest, plan: SimulationPlan) -> dict[str, tuple[int, int]]:
    def counts(ids: Sequence[str]) -> Counter[int]:
        return Counter(label for i in ids for label in manifest.by_id[i].labels or ())

    trained, tested = counts(plan.training_ids), counts([image.original for image in plan.test])
    return {name: (trained[n], tested[n]) for n, name in enumerate(manifest.spec.labels)}


def _write_tables(data: Path, folder: Path, manifest: Manifest, plan: SimulationPlan) -> None:
    stay = set(plan.training_ids)
    write_tables_of(data, folder)
    tables = (TABLES[split] for split in LABELLED)
    for name in (*tables, GROUPS_TABLE, CORRECTIONS_TABLE):
        if (folder / name).exists():
            save_table(folder / name, _rows_of(folder / name, stay))
    ids = [image.id for image in plan.test]
    save_table(folder / TABLES["test"], pd.DataFrame({"Id": ids, "Predicted": 0}))
    truth = [_truth(image, manifest) for image in plan.test]
    save_table(folder / TRUTH_FILE, pd.DataFrame(truth, columns=list(TRUTH_COLUMNS)))


def _rows_of(path: Path, ids: Collection[str]) -> pd.DataFrame:
    """Return the rows of these ids, with all their columns."""
    table = read_frame(path, ("Id",))
    return table[table["Id"].isin(ids)]


def _truth(image: TestImage, manifest: Manifest) -> tuple[str, ...]:
    target = format_labels(manifest.by_id[image.original].labels or ())
    return image.id, image.relation, image.source, image.edit, target


def _write_images(folder: Path, manifest: Manifest, plan: SimulationPlan) -> None:
    for split in (*LABELLED, "test"):
        if (folder / TABLES[split]).exists():
            (folder / split).mkdir()
    for image_id in tracked(plan.training_ids, "linking"):
        row = manifest.by_id[image_id]
        places = own_places(folder / row.split, row, manifest.spec)
        for file, place in zip(row.files, places, strict=True):
            link_or_copy(file, place)
    for image in tracked(plan.test, "writing test images"):
        if image.relation == SAME_IMAGE:
            _write_copy(image, manifest, folder / "test")
        else:
            _link_test(image, manifest, folder / "test")


def _link_test(image: TestImage, manifest: Manifest, folder: Path) -> None:
    spec = manifest.spec
    files = manifest.by_id[image.original].files
    for place, file in zip(made_places(folder, image.id, spec), files, strict=True):
        link_or_copy(file, place if spec.by_path else place.with_name(place.stem + file.suffix))


def _write_copy(image: TestImage, manifest: Manifest, folder: Path) -> None:
    spec = manifest.spec
    field = read_row(manifest.by_id[image.original], spec)
    # The id is the seed, so two copies of one source by the same edit differ.
    seed = hashlib.sha256(image.id.encode()).digest()
    edited = plant(field, image.edit, np.random.default_rng(list(seed)))
    write_field(made_places(folder, image.id, spec), edited, spec)
