"""The written folder of a simulated test, of several kinds of atlases."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from atlas.cli.simulate import simulation_lines
from atlas.core.errors import DataError, UserError
from atlas.dataset.images import read_field
from atlas.dataset.manifest import read_manifest
from atlas.dataset.truth import read_truth
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.embed.index import build_index
from atlas.workflows.leaks.finding import find_leaks
from atlas.workflows.settings import SimulationSettings
from atlas.workflows.simulate.simulation import simulate_test
from atlas.workflows.submit.score import score_run
from index.settings import LeakSettings
from tests.conftest import write_tiny_atlas

HALF = SimulationSettings(test_share=0.5, copies_share=0.2, siblings_share=0.2)
LABELLED = {f"image{n:02d}": f"{n % 3} {(n + 1) % 3}" for n in range(40)}
IDENTITIES = {image_id: f"antibody{n // 4}" for n, image_id in enumerate(LABELLED)}


def write_atlas(folder: Path, **more: object) -> Path:
    settings = {"train": LABELLED, "identities": IDENTITIES, "size": (40, 48), "test": ["unknown"]}
    return write_tiny_atlas(folder, **(settings | more))  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("channels", [("gray",), ("red", "green", "blue", "yellow")])
def test_an_atlas_whose_truth_fits_its_images(tmp_path: Path, channels: tuple[str, ...]) -> None:
    data = write_atlas(tmp_path / "data", channels=channels)
    simulate_test(data, tmp_path / "out", HALF)
    source, made = read_manifest(data), read_manifest(tmp_path / "out")
    assert made.spec == source.spec
    truth = read_truth(tmp_path / "out")
    assert truth is not None
    assert truth["relation"].value_counts().to_dict() == {
        "novel": 12,
        "sibling": 4,
        "same_image": 4,
    }
    assert len(made.of("test").rows) == 20
    original = {_pixels(source, i): i for i in source.labelled.ids}
    for row in truth.to_dict("records"):
        pixels = _pixels(made, row["Id"])
        if row["relation"] == "same_image":
            assert row["source"] in made.labelled.ids
            assert (pixels in original) == (row["edit"] == "exact")
            assert row["Target"] == LABELLED[row["source"]]
        else:
            found = original[pixels]
            assert found not in made.ids
            assert row["source"] == IDENTITIES[found]
            assert row["Target"] == LABELLED[found]
    for row in made.labelled.rows:
        assert (row.labels, row.identity) == (
            source.by_id[row.id].labels, source.by_id[row.id].identity
        )  # fmt: skip


def _pixels(manifest, image_id: str) -> bytes:
    row = manifest.by_id[image_id]
    return read_field(
        row.files, manifest.spec.channels, max_value=manifest.spec.max_value
    ).tobytes()


def test_equal_work_gives_equal_bytes_and_another_seed_other_ids(tmp_path: Path) -> None:
    data = write_atlas(tmp_path / "data")
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        chosen = SimulationSettings(test_share=0.5, seed=seed)
        simulate_test(data, tmp_path / name, chosen)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    tests = [set(pd.read_csv(tmp_path / n / "truth.csv")["Id"]) for n in ("one", "other")]
    assert not tests[0] & tests[1]


def test_the_source_can_go(tmp_path: Path) -> None:
    data = write_atlas(tmp_path / "data")
    simulate_test(data, tmp_path / "out", HALF)
    before = contents(tmp_path / "out")
    for path in data.rglob("*.png"):
        path.unlink()
    assert contents(tmp_path / "out") == before


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path) -> None:
    data = write_atlas(tmp_path / "data")
    toml = data / "atlas.toml"
    toml.write_text(toml.read_text() + "max_value = 4095\n")
    rng = np.random.default_rng(0)
    for path in data.rglob("*.png"):
        cv2.imwrite(str(path), rng.integers(0, 4096, (40, 48), dtype=np.uint16))
    simulate_test(data, tmp_path / "out", HALF)
    made = read_manifest(tmp_path / "out")  # refuses files of 8 bit here
    exact = pd.read_csv(tmp_path / "out" / "truth.csv").query("edit == 'exact'").iloc[0]
    assert _pixels(made, exact["Id"]) == _pixels(made, exact["source"])


def test_external_images_and_groups_go_along(tmp_path: Path) -> None:
    train = {i: t for i, t in LABELLED.items() if i < "image20"}
    data = write_atlas(
        tmp_path / "data", train=train, external=dict(LABELLED.items() - train.items())
    )
    pairs = [("image00", "same"), ("image39", "same"), ("unknown", "alone")]
    pd.DataFrame(pairs, columns=["Id", "Group"]).to_csv(data / "groups.csv", index=False)
    for seed in range(4):
        chosen = SimulationSettings(test_share=0.5, seed=seed)
        simulate_test(data, tmp_path / "out", chosen)
        made = read_manifest(tmp_path / "out")
        assert {row.split for row in made.labelled.rows} == {"train", "external"}
        assert ("image00" in made.ids) == ("image39" in made.ids)
        assert len({made.by_id[i].group for i in ("image00", "image39") if i in made.ids}) <= 1


def test_what_is_printed(tmp_path: Path) -> None:
    data = write_atlas(tmp_path / "data", identities=None)
    lines = list(simulation_lines(simulate_test(data, tmp_path / "out", HALF)))
    assert lines[0] == "24 images stay labelled, 20 are tested:"
    assert "no siblings" in "\n".join(lines)


def test_nothing_else_is_replaced(tmp_path: Path) -> None:
    data = write_atlas(tmp_path / "data")
    with pytest.raises(UserError, match="is the atlas itself"):
        simulate_test(data, data, HALF)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"was not written by simulate-test"):
        simulate_test(data, tmp_path / "mine", HALF)
    (data / "train" / "image00.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"image00\.png"):
        simulate_test(data, tmp_path / "out", HALF)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"test_share": 1.0}, "--test-share"),
        ({"copies_share": -0.1}, "negative"),
        ({"copies_share": 0.5, "siblings_share": 0.5}, "less than 1"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        SimulationSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_main_job_finds_the_copies_of_a_simulated_test(tmp_path: Path) -> None:
    drawn = DrawnAtlasSettings(
        identities=16, fields_per_identity=4, copies=0, novel_identities=0,
        test_fields_per_identity=1, seed=3,
    )  # fmt: skip
    draw_atlas(drawn, tmp_path / "drawn", jobs=1)
    data, run = tmp_path / "data", tmp_path / "run"
    chosen = SimulationSettings(test_share=0.5, copies_share=0.28, siblings_share=0.15)
    simulate_test(tmp_path / "drawn", data, chosen)
    build_index(data, "frozen", run / "index")
    settings = LeakSettings(
        planted_copies=24,
        natural_queries=24,
        accept_unproven_copies=True,
        accept_unproven_siblings=True,
    )
    find_leaks(data, run / "index", run / "leaks", settings)
    found = score_run(data, run).leaks
    assert found.copies_by_edit["all"].of == 9
    assert found.copies_by_edit["all"].count >= 8
    assert found.false_copies.count == 0
    assert found.sibling_recall.of == 5
