"""The main job on two nested folders of ordinary colour pictures, by its commands."""

import shutil
from pathlib import Path

import cv2
import pandas as pd
import pytest

from atlas.cli.commands import run
from atlas.core.errors import UserError
from atlas.dataset.atlas_folder import write_atlas_folder
from atlas.dataset.manifest import read_manifest
from atlas.workflows.embed.lookup import lookup
from atlas.workflows.explain.explanation import explain
from tests.photos import KNOWN, NEW, photo, save, write_known, write_new

pytestmark = pytest.mark.slow

COPIES = {new: known for new, known in NEW.items() if known}
FLOAT32 = ["--runtime", "torch", "--precision", "float32"]  # which need no check
FEW = ["--neighbours", "12", "--planted-copies", "24", "--natural-queries", "12"]


def command(name: str, *words: object) -> None:
    run(name, [str(word) for word in words])


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with known/, new/, data/ and a finished run in runs/."""
    folder = tmp_path_factory.mktemp("plain")
    known = write_known(folder / "known")
    data = write_atlas_folder(folder / "data", known, write_new(folder / "new", known))
    runs = folder / "runs"
    frozen = ["--embedder", "frozen", *FLOAT32, "--out", runs / "index"]
    command("build_index", "--data", data, *frozen)
    command("find_leaks", "--data", data, "--index", runs / "index", "--out", runs / "leaks", *FEW)
    command(
        "train_classifier", "smoke", "--data", data, "--out", runs / "classifier", "--epochs", 1
    )
    command(
        "make_submission", "--data", data, "--leaks", runs / "leaks", "--classifier",
        runs / "classifier", "--out", runs / "submission",
    )  # fmt: skip
    return folder


def test_copies_are_found_by_their_paths(job: Path) -> None:
    leaks = read(job / "runs" / "leaks" / "leaks.csv")
    claims = leaks[leaks["relation"] == "same_image"].set_index("Id")["match_id"]
    assert claims.to_dict() == COPIES


def test_the_submission_has_the_new_paths(job: Path) -> None:
    submission = read(job / "runs" / "submission" / "submission.csv")
    assert list(submission["Id"]) == sorted(NEW)
    assert (submission["Predicted"] != "").all()


def test_pages_of_paths_have_safe_names(job: Path) -> None:
    out = job / "pages"
    explain(list(NEW), job / "data", job / "runs", out)
    pages = list(out.iterdir())
    assert len(pages) == len(NEW)
    assert all(page.is_file() and page.suffix == ".html" for page in pages)
    assert any("cats/p 1.JPG" in page.read_text() for page in pages)


def test_a_folder_is_looked_up_with_verdicts(job: Path, tmp_path: Path) -> None:
    found = lookup([str(job / "new")], job / "runs" / "index", k=12, montage=tmp_path / "m.png")
    assert list(found.verdicts) == [str(job / "new" / path) for path in sorted(NEW)]
    best = found.table.sort_values("registration_score").groupby("query").last()
    for path, known in COPIES.items():
        assert best.at[str(job / "new" / path), "match_id"] == known
        assert known in found.verdicts[str(job / "new" / path)]
        assert best.at[str(job / "new" / path), "label_names"] == known.split("/")[0]
    assert found.verdicts[str(job / "new" / "a/equal.JPG")] == "has the same pixels as cats/p 1.JPG"
    assert "is a copy of dogs/p1.bmp" in found.verdicts[str(job / "new" / "a/smaller.png")]
    assert "is not known" in found.verdicts[str(job / "new" / "other.webp")]
    assert list(read(found.csv)["match_id"]) == list(found.table["match_id"])


def test_without_calibration_the_verdict_claims_nothing(job: Path, tmp_path: Path) -> None:
    shutil.copytree(job / "runs" / "index", tmp_path / "index")
    query = str(job / "new" / "a" / "smaller.png")
    found = lookup([query], tmp_path / "index", k=1, montage=tmp_path / "m.png")
    assert found.verdicts[query].startswith("is most similar to dogs/p1.bmp")


def test_ids_in_upper_case_are_looked_up(job: Path, tmp_path: Path) -> None:
    ids = ["cats/p 1.JPG", "dogs/old/p4.PNG"]
    found = lookup(ids, job / "runs" / "index", k=1, montage=tmp_path / "m.png")
    assert list(found.verdicts) == ids
    assert not set(found.table["match_id"]) & set(ids)


def test_a_damaged_query_does_not_lose_the_others(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(25):
        save(tmp_path / "in" / f"{n:02}.png", photo(200 + n, 40, 40))
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no picture")
    words = [str(tmp_path / "in"), "--index", str(job / "runs" / "index"), "-k", "2"]
    with pytest.raises(SystemExit, match="1"):
        run("lookup", [*words, "--montage", str(tmp_path / "m.png")])
    assert "26 queries were looked up; 1 of them cannot be read." in capsys.readouterr().out
    table = read(tmp_path / "m.csv")
    assert table["query"].nunique() == 26
    assert table[table["rank"] == ""]["verdict"].str.startswith("cannot be read").all()
    pages = [tmp_path / "m.png", tmp_path / "m-2.png"]  # 20 queries on each
    assert all(cv2.imread(str(page)) is not None for page in pages)
    with pytest.raises(UserError, match="bad"):
        lookup([str(tmp_path / "in" / "bad.jpg")], job / "runs" / "index", k=1,
               montage=tmp_path / "m.png")  # fmt: skip
    one = [str(tmp_path / "in" / "00.png"), *words[1:], "--montage", str(tmp_path / "m.png")]
    run("lookup", one)
    assert not pages[1].exists()


@pytest.mark.parametrize("plain", [True, False])
def test_simulated_tests_and_rare_augmentation(job: Path, tmp_path: Path, plain: bool) -> None:
    data = job / ("known" if plain else "data")
    command("simulate_test", "--data", data, "--out", tmp_path / "s", "--test-share", 0.5)
    simulated = read_manifest(tmp_path / "s")
    assert set(simulated.labelled.ids) <= set(KNOWN)
    assert len(simulated.of("test").rows) >= 4
    command("augment_rare", "--data", data, "--out", tmp_path / "r", "--least", 6)
    made = [row for row in read_manifest(tmp_path / "r").rows if row.parent]
    assert len(made) == 6
    assert all(row.id.startswith(row.parent.rsplit(".")[0]) for row in made if row.parent)


def test_pictures_without_labels(tmp_path: Path) -> None:
    for n in range(8):
        save(tmp_path / "data" / "train" / f"{n}.png", photo(n))
    save(tmp_path / "data" / "test" / "copy.jpg", photo(3))
    runs = tmp_path / "runs"
    data = tmp_path / "data"
    frozen = ["--embedder", "frozen", *FLOAT32, "--out", runs / "index"]
    command("build_index", "--data", data, *frozen)
    command("find_leaks", "--data", data, "--index", runs / "index", "--out", runs / "leaks", *FEW)
    claim = read(runs / "leaks" / "leaks.csv").iloc[0]
    assert (claim["Id"], claim["match_id"], claim["labels"]) == ("copy.jpg", "3.png", "")
    assert claim["decision"] == "abstain"
    assert "no labels" in claim["reason"]
    with pytest.raises(SystemExit, match="nothing to classify"):
        command("train_classifier", "smoke", "--data", data, "--out", runs / "c", "--epochs", 1)
