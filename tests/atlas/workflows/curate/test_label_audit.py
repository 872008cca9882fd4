"""The audit from an index to its files, on labels that are wrong by plan."""

import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlas.core.errors import ProvenanceError, UserError, command_line
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.manifest import read_manifest
from atlas.dataset.store import fill_store
from atlas.workflows.curate.label_audit import AuditedAtlas, audit_labels
from atlas.workflows.settings import AuditSettings
from index.audit.label_trial import flip_labels, measured
from index.index_folder import save_index

CLASSES, SPECIMENS, FIELDS = 3, 10, 3
SETTINGS = AuditSettings(neighbours=12, wrong_share=0.05, seed=0)
NAMES = ("zero", "one", "<b>two</b>")

WriteAtlas = Callable[..., Path]


def fields() -> list[tuple[str, int, str]]:
    """Id, class and specimen of every image."""
    return [
        (f"c{c}s{s}f{f}", c, f"s{c}-{s}")
        for c in range(CLASSES) for s in range(SPECIMENS) for f in range(FIELDS)
    ]  # fmt: skip


@pytest.fixture
def atlas(write_atlas: WriteAtlas) -> Path:
    """Classes lie apart, fields of a specimen close together; c2s4f1 is labelled as class 0."""
    targets = {image_id: str(c) for image_id, c, _ in fields()} | {"c2s4f1": "0"}
    return write_atlas(
        train=targets, identities={i: s for i, _, s in fields()}, labels=NAMES, size=(16, 20)
    )


def indexed(data: Path, folder: Path) -> Path:
    """An index of vectors that stand where the class and the specimen say."""
    rng = np.random.default_rng(0)
    of_specimen = {s: rng.normal(0, 0.3, 6) + 2 * np.eye(6)[c] for _, c, s in fields()}
    vectors = np.array([of_specimen[s] + rng.normal(0, 0.05, 6) for _, _, s in fields()])
    unit_ND = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    known = EmbeddingSet(
        ids=tuple(i for i, _, _ in fields()), vectors_ND=unit_ND, provenance={"embedder": "planted"}
    )
    manifest = read_manifest(data)
    store = fill_store(manifest, folder.parent / "store", size_px=16)
    keys = store.keys(known.ids)
    save_index(folder, known, manifest.labelled, keys, data=data, image_size_px=16)
    return folder


@pytest.fixture
def audited(atlas: Path, tmp_path: Path) -> tuple[Path, AuditedAtlas]:
    out = tmp_path / "run" / "audit"
    return out, audit_labels(atlas, indexed(atlas, tmp_path / "run" / "index"), out, SETTINGS)


def test_the_wrong_label_stands_first_and_says_why(audited: tuple[Path, AuditedAtlas]) -> None:
    table = pd.read_csv(audited[0] / "audit.csv", dtype=str)
    assert list(table.columns) == ["rank", "Id", "labels", "suggested", "suspicion", "reason"]
    assert len(table) == len(fields())
    first = table.iloc[0]
    assert (first["rank"], first["Id"], first["labels"]) == ("1", "c2s4f1", "0")
    assert first["suggested"] == "2"
    assert float(first["suspicion"]) > 0.5 > float(table.iloc[1]["suspicion"])
    assert "lacks label 2 (<b>two</b>), which 12 of its 12 neighbours have" in first["reason"]
    assert "c2s4f0 (same group, similarity" in first["reason"]


def test_an_image_that_changed_since_the_index_was_built_is_named(
    atlas: Path, tmp_path: Path
) -> None:
    folder = indexed(atlas, tmp_path / "run" / "index")
    for name in ("c0s0f0", "c0s0f1"):
        shutil.copy(atlas / "train" / "c1s0f0.png", atlas / "train" / f"{name}.png")
    wanted = f"image c0s0f0 and 1 more have changed .*{command_line('build_index')}"
    with pytest.raises(ProvenanceError, match=wanted):
        audit_labels(atlas, folder, tmp_path / "run" / "audit", SETTINGS)


def test_suspicion_falls_with_rank_and_good_labels_are_left_alone(
    audited: tuple[Path, AuditedAtlas],
) -> None:
    table = audited[1].table
    assert list(table["rank"]) == list(range(1, len(table) + 1))
    assert table["suspicion"].is_monotonic_decreasing
    others = table[table["Id"] != "c2s4f1"]
    assert (others["labels"] == others["suggested"]).all()


class Page(HTMLParser):
    """What a browser would make of the page: tags with their attributes, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_no_other_file_and_takes_names_as_text(
    audited: tuple[Path, AuditedAtlas],
) -> None:
    page = Page((audited[0] / "audit.html").read_text())
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 50 * (1 + 6)
    assert all(str(i["src"]).startswith("data:image/webp;base64,") for i in images)
    assert images[0]["alt"] == "c2s4f1"
    assert not any(tag in ("script", "link", "b") for tag, _ in page.tags)
    assert "<b>two</b>" in page.text
    for name, value in audited[1].counts.items():
        assert name in page.text
        assert value in page.text


def test_equal_work_gives_equal_bytes(atlas: Path, tmp_path: Path) -> None:
    index = indexed(atlas, tmp_path / "run" / "index")
    for name in ("one", "two"):
        audit_labels(atlas, index, tmp_path / "run" / name, SETTINGS)
    for path in (tmp_path / "run" / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "run" / "two" / path.name).read_bytes()


def test_the_trial_finds_what_was_flipped_in_memory_alone(
    atlas: Path, audited: tuple[Path, AuditedAtlas]
) -> None:
    trial = audited[1].trial
    assert (trial.images, trial.flipped) == (90, 4)
    assert trial.found >= 0.75
    assert trial.average_precision > 0.7
    assert (atlas / "train.csv").read_text().count(",0,") == 31


def test_groups_count_as_kin(atlas: Path, tmp_path: Path) -> None:
    rows = read_manifest(atlas).rows
    lines = [f"{row.id},{row.identity}" for row in rows]
    table = (atlas / "train.csv").read_text().splitlines()
    (atlas / "train.csv").write_text("\n".join(line.rsplit(",", 1)[0] for line in table) + "\n")
    (atlas / "groups.csv").write_text("\n".join(["Id,Group", *lines]) + "\n")
    index = indexed(atlas, tmp_path / "run" / "index")
    found = audit_labels(atlas, index, tmp_path / "run" / "audit", SETTINGS)
    assert found.kin_count == CLASSES * SPECIMENS
    assert found.table.iloc[0]["Id"] == "c2s4f1"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"neighbours": 0}, "-k must be at least 1"),
        ({"wrong_share": 0.5}, "--wrong-share"),
        ({"wrong_share": float("nan")}, "--wrong-share"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        AuditSettings(**changes)  # type: ignore[arg-type]


def test_labels_that_changed_since_the_index_was_made_are_refused(
    atlas: Path, tmp_path: Path
) -> None:
    index = indexed(atlas, tmp_path / "run" / "index")
    text = (atlas / "train.csv").read_text().replace("c2s4f1,0", "c2s4f1,2")
    (atlas / "train.csv").write_text(text)
    with pytest.raises(ProvenanceError, match=f"{command_line('build_index')}"):
        audit_labels(atlas, index, tmp_path / "run" / "audit", SETTINGS)


def test_flipped_images_carry_the_labels_of_others_and_the_rest_their_own() -> None:
    labels = {f"i{n:03d}": ((n % 4,), (0, 1))[n % 5 == 0] for n in range(200)}
    wrong, flipped = flip_labels(labels, share=0.1, seed=1)
    assert len(flipped) == 20
    assert all((set(wrong[i]) != set(labels[i])) == (i in flipped) for i in labels)
    assert {wrong[i] for i in flipped} <= set(labels.values())
    back = dict(reversed(labels.items()))
    assert flip_labels(back, share=0.1, seed=1)[1] == flipped
    assert flip_labels(labels, share=0.1, seed=2)[1] != flipped


def test_labels_that_are_all_alike_cannot_be_flipped() -> None:
    with pytest.raises(UserError, match="same labels"):
        flip_labels({"a": (0, 1), "b": (1, 0)}, share=0.5, seed=0)


def test_a_ranking_is_measured_by_what_stands_first() -> None:
    suspicion = np.array([0.9, 0.1, 0.8, 0.3])
    trial = measured(("a", "b", "c", "d"), suspicion, frozenset({"a", "d"}))
    assert (trial.images, trial.flipped, trial.found) == (4, 2, 0.5)
    assert trial.average_precision == pytest.approx((1 / 1 + 2 / 3) / 2)
