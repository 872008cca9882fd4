"""Ids of HPA v18: their parts, and what follows for identities, groups and splits."""

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from atlas.dataset.hpa import HPA_CHANNELS, HpaId, parse_hpa_id
from atlas.dataset.manifest import ImageRow, Manifest, read_manifest
from atlas.dataset.spec import HPA_2018
from atlas.dataset.splits.hold_out import grouped_ids
from retrieval.classes import training_classes
from retrieval.settings import RECIPES
from tests.conftest import write_field

KAGGLE_ID = "00070df0-bbc3-11e8-b2bc-ac1f6b6435d0"


@pytest.mark.parametrize(
    ("image_id", "parts"),
    [
        ("10580_1610_C1_2", ("10580", "1610", "C1", "2")),
        ("1154_si26_E4_2", ("1154", "si26", "E4", "2")),
        ("11651_1732_F3_13_cr580610dc203b9", ("11651", "1732", "F3", "13")),
        ("ENSG00000001497_44431_556_B9_1", ("44431", "556", "B9", "1")),
        ("800_E1_1", (None, "800", "E1", "1")),
    ],
)
def test_ids_are_parsed(image_id: str, parts: tuple[str | None, str, str, str]) -> None:
    antibody, plate, well, field = parts
    expected = HpaId(antibody=antibody, plate=plate, well=well, field=field)
    assert parse_hpa_id(image_id) == expected
    assert expected.specimen == f"{plate}_{well}"


@pytest.mark.parametrize(
    "image_id",
    [KAGGLE_ID, "", "a_b_c_1", "1_2_c", "1_2_A1_x", "1_2_A1_1_zz", "1_2_A1_1\n", "1_A1"],
)
def test_other_ids_are_not_parsed(image_id: str) -> None:
    assert parse_hpa_id(image_id) is None


def write_hpa(data: Path, ids: Sequence[str], table: str) -> Path:
    """Write a folder without atlas.toml: a Kaggle image in train, JPEG files in external."""
    write_field(data / "train", KAGGLE_ID, np.zeros((4, 8, 8), np.uint8), HPA_CHANNELS)
    (data / "train.csv").write_text(f"Id,Target\n{KAGGLE_ID},16 0\n")
    (data / "external.csv").write_text(table)
    (data / "external").mkdir()
    for image_id in ids:
        for channel in HPA_CHANNELS:
            path = data / "external" / f"{image_id}_{channel}.jpg"
            cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    return data


def test_external_fields_take_their_identity_from_the_id(tmp_path: Path) -> None:
    ids = ("10580_1610_C1_1", "11651_1732_F3_13_cr580610dc203b9")
    table = "Id,Target\n" + "".join(f"{i},25\n" for i in ids)
    rows = read_manifest(write_hpa(tmp_path / "data", ids, table)).rows
    assert [row.identity for row in rows] == [None, "10580", "11651"]
    assert [row.group for row in rows] == [None, None, None]


def test_without_an_antibody_the_images_of_a_well_are_a_group(tmp_path: Path) -> None:
    ids = ("800_E1_1", "800_E1_2", "800_E2_1")
    table = "Id,Target\n" + "".join(f"{i},25\n" for i in ids)
    manifest = read_manifest(write_hpa(tmp_path / "data", ids, table))
    assert [row.group for row in manifest.rows] == [None, "800_E1", "800_E1", "800_E2"]
    assert ("800_E1_1", "800_E1_2") in grouped_ids(manifest)


def test_a_column_of_identities_takes_precedence(tmp_path: Path) -> None:
    ids = ("10580_1610_C1_1", "10580_1610_C1_2", "10580_1610_C1_3")
    table = f"Id,Target,Identity\n{ids[0]},25,mine\n{ids[1]},25,\n{ids[2]},25,\n"
    external = read_manifest(write_hpa(tmp_path / "data", ids, table)).of("external").rows
    assert [row.identity for row in external] == ["mine", None, None]
    assert [row.group for row in external] == [None, "1610_C1", "1610_C1"]


def test_ids_of_other_atlases_are_not_parsed(
    write_atlas: Callable[..., Path],
) -> None:
    manifest = read_manifest(write_atlas(external={"7_8_A1_1": "1", "8_A1_1": "1"}))
    external = manifest.of("external").rows
    assert [(row.identity, row.group) for row in external] == [(None, None), (None, None)]


@pytest.fixture(scope="module")
def v18(shared: Path) -> Manifest:
    """Return the rows of the real table, without their images."""
    with (shared / "labels" / "HPAv18RBGY_wodpl.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    rows = []
    for line in table:
        named = parse_hpa_id(line["Id"])
        assert named is not None, line["Id"]
        labels = tuple(map(int, line["Target"].split()))
        rows.append(ImageRow(id=line["Id"], split="external", files=(), width_px=512,
                             height_px=512, labels=labels, identity=named.antibody))  # fmt: skip
    return Manifest(spec=HPA_2018, rows=tuple(rows))


@pytest.mark.real
def test_antibodies_and_wells_of_the_real_table(v18: Manifest) -> None:
    fields = Counter(row.identity for row in v18.rows)
    assert len(v18.rows) == 74_606
    assert len(fields) == 12_815
    assert round(np.mean(list(fields.values())), 1) == 5.8
    antibodies_of_well = defaultdict(set)
    for row in v18.rows:
        named = parse_hpa_id(row.id)
        assert named is not None
        antibodies_of_well[named.specimen].add(named.antibody)
    assert len(antibodies_of_well) == 37_074
    assert all(len(antibodies) == 1 for antibodies in antibodies_of_well.values())


@pytest.mark.real
def test_every_antibody_is_in_training_and_in_the_test(v18: Manifest) -> None:
    classes = training_classes(v18, RECIPES["card"])
    identity_of = {row.id: row.identity for row in v18.rows}
    training, held_out, unseen = (
        Counter(identity_of[i] for i in ids)
        for ids in (
            classes.training_ids,
            classes.held_out.held_out_ids,
            classes.held_out.unseen_identity_ids,
        )
    )
    assert training.keys() == held_out.keys() == v18.repeated_identities - unseen.keys()
    assert all(1 <= held_out[a] <= training[a] for a in training)
    assert not set(classes.training_ids) & set(classes.held_out.held_out_ids)
