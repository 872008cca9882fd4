"""The benchmark of two folders: its credits, its edits, its folders, and how it scores."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.photographs.edits import EDITS, mirror, rotate_7, screenshot
from benchmarks.photographs.fetch import PIP_OPTIONS, Photograph, read_credits
from benchmarks.photographs.folders import (
    COPIES,
    KNOWN,
    KNOWN_COUNT,
    NEW,
    NewPicture,
    make_folders,
    read_truth,
    write_truth,
)
from benchmarks.photographs.scoring import best_threshold, interval, score_claims

SIDE_PX = (64, 48)
ORIENTATION_TAG = 0x0112


def drawn(seed: int) -> Image.Image:
    """Return smooth noise, as different from one seed to another as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(small).resize(SIDE_PX, Image.Resampling.BICUBIC)


def as_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "png")
    return file.getvalue()


def orientation(path: Path) -> int | None:
    with Image.open(path) as picture:
        return picture.getexif().get(ORIENTATION_TAG)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def photographs() -> list[Photograph]:
    return read_credits()


@pytest.fixture(scope="module")
def images(photographs: list[Photograph]) -> dict[str, bytes]:
    """Stand in for the photographs, which are not part of the repository."""
    return {one.name: as_png(drawn(seed)) for seed, one in enumerate(photographs)}


def test_every_photograph_is_credited_once_and_is_free(photographs: list[Photograph]) -> None:
    assert len({one.name.lower() for one in photographs}) == len(photographs)
    assert len({one.sha256 for one in photographs}) == len(photographs)
    versions = {(one.package, one.version) for one in photographs}
    assert {package for package, _ in versions} == set(PIP_OPTIONS)
    assert len(versions) == len(PIP_OPTIONS)
    for one in photographs:
        assert len(one.sha256) == 64, one
        assert one.file, one
        assert one.licence, one
        assert "NC" not in one.licence, one
        assert one.author or "BY" not in one.licence, one


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_only_depends_on_the_picture_and_the_seed(edit: str) -> None:
    before = drawn(0).tobytes()
    picture = drawn(0)
    first, second = (EDITS[edit](picture, np.random.default_rng(3)) for _ in range(2))
    assert first.mode == "RGB"
    assert (first.size, first.tobytes()) == (second.size, second.tobytes())
    assert picture.tobytes() == before


def test_mirroring_twice_gives_the_picture_back() -> None:
    rng = np.random.default_rng(0)
    assert mirror(mirror(drawn(0), rng), rng).tobytes() == drawn(0).tobytes()


@pytest.mark.parametrize("size", [(400, 100), (300, 300), (100, 400)])
def test_no_corner_is_empty_after_a_rotation(size: tuple[int, int]) -> None:
    rotated = rotate_7(Image.new("RGB", size, "white"), np.random.default_rng(0))
    assert rotated.getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize("size", [(64, 48), (48, 400)])
def test_a_screenshot_shows_the_whole_photograph(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, "blue")
    shown = screenshot(picture, np.random.default_rng(0))
    blue = (np.asarray(shown) == (0, 0, 255)).all(axis=2)
    assert blue.sum() == size[0] * size[1]


def test_the_folders_are_the_same_on_every_call(
    photographs: list[Photograph], images: dict[str, bytes], tmp_path: Path
) -> None:
    rows = make_folders(photographs, images, tmp_path / "one")
    again = make_folders(photographs, images, tmp_path / "two")
    files = files_of(tmp_path / "one")
    assert rows == again
    assert files == files_of(tmp_path / "two")
    assert sum(path.startswith(f"{KNOWN}/") for path in files) == KNOWN_COUNT
    assert {f"{NEW}/{row.new}" for row in rows} | {
        path for path in files if path.startswith(f"{KNOWN}/")
    } == set(files)
    edits = Counter(row.edit for row in rows if row.known)
    assert edits.total() == COPIES
    assert set(edits) == set(EDITS)
    assert {path.rsplit(".")[-1].lower() for path in files} == {
        "jpg", "png", "webp", "bmp", "tiff",
    }  # fmt: skip
    for row in rows:
        assert not row.known or f"{KNOWN}/{row.known}" in files
        assert bool(row.known) == bool(row.edit)


def test_some_pictures_lie_on_their_side_and_have_a_tag_for_the_viewer(
    photographs: list[Photograph], images: dict[str, bytes], tmp_path: Path
) -> None:
    make_folders(photographs, images, tmp_path)
    for folder in (KNOWN, NEW):
        assert 6 in {orientation(path) for path in (tmp_path / folder).rglob("*.jpg")}, folder


TRUTH = [
    NewPicture(new="a.jpg", known="x.png", edit="blur", photograph="x"),
    NewPicture(new="b.jpg", known="y.png", edit="blur", photograph="y"),
    NewPicture(new="c.jpg", known="z.png", edit="mirror", photograph="z"),
    NewPicture(new="d.jpg", known="", edit="", photograph="w"),
]
CLAIMS = pd.DataFrame(
    [
        ("a.jpg", "y.png", 0.3),
        ("a.jpg", "x.png", 0.9),  # the better one counts
        ("b.jpg", "x.png", 0.8),  # of another photograph
        ("d.jpg", "x.png", 0.7),  # is not known
    ],
    columns=["new", "known", "score"],
)


def test_a_copy_counts_where_its_source_is_named_and_all_else_that_is_claimed_is_false() -> None:
    score = score_claims(TRUTH, CLAIMS)
    assert (score.found, score.copies) == (1, 3)
    assert (score.false, score.pictures) == (2, 4)
    assert score.missed == {"blur": 1, "mirror": 1}


def test_the_best_threshold_keeps_the_right_claim_alone() -> None:
    assert best_threshold(TRUTH, CLAIMS) == 0.9


def test_the_truth_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_truth(tmp_path / "truth.csv", TRUTH)
    assert read_truth(tmp_path / "truth.csv") == TRUTH


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [(0, 10, (0, 0.308)), (10, 10, (0.692, 1)), (5, 10, (0.187, 0.813))],
)
def test_intervals_are_those_of_clopper_and_pearson(
    count: int, of: int, expected: tuple[float, float]
) -> None:
    assert interval(count, of) == pytest.approx(expected, abs=5e-4)
