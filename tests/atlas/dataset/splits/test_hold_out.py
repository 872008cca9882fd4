import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.core.errors import UserError
from atlas.dataset.manifest import ImageRow, Manifest
from atlas.dataset.metrics import label_matrix
from atlas.dataset.spec import AtlasSpec
from atlas.dataset.splits.hold_out import HoldOut, grouped_ids, hold_out

CLASSES = 5
SPEC = AtlasSpec(
    name="drawn",
    channels=("gray",),
    file_pattern="{id}.png",
    labels=tuple(f"label {c}" for c in range(CLASSES)),
)

SOME = settings(max_examples=40, deadline=None)  # the duration of an example is not tested


def row(number: int, labels: tuple[int, ...], **known: str) -> ImageRow:
    return ImageRow(
        id=f"image{number:04d}", split="train", files=(), width_px=8, height_px=8, labels=labels,
        **known,
    )  # fmt: skip


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Draw 2 to 40 labelled rows, some with an identity, group or parent, and a test row."""
    count = draw(st.integers(2, 40))
    labels = st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=3, unique=True)
    rows = []
    for n in range(count):
        known: dict[str, str] = {}
        if draw(st.booleans()):
            known["identity"] = f"antibody{draw(st.integers(0, count))}"
        if draw(st.booleans()):
            known["group"] = f"plate{draw(st.integers(0, count))}"
        if n and draw(st.integers(0, 5)) == 0:
            known["parent"] = f"image{draw(st.integers(0, n - 1)):04d}"
        rows.append(row(n, tuple(draw(labels)), **known))
    test = ImageRow(id="unlabelled", split="test", files=(), width_px=8, height_px=8)
    return Manifest(spec=SPEC, rows=(*rows, test))


def split_or_none(manifest: Manifest, share: float = 0.3, seed: int = 0) -> HoldOut | None:
    try:
        return hold_out(manifest, share=share, seed=seed)
    except UserError:
        return None


@SOME
@given(manifest=manifests(), share=st.floats(0.1, 0.6), seed=st.integers(0, 5))
def test_every_original_is_on_one_side_and_made_images_never_measure(
    manifest: Manifest, share: float, seed: int
) -> None:
    if split := split_or_none(manifest, share, seed):
        assert split.training_ids
        assert split.validation_ids
        made = {r.id for r in manifest.labelled.rows if r.parent}
        assert not made & set(split.validation_ids)
        both = [*split.training_ids, *split.validation_ids]
        assert len(set(both)) == len(both)
        assert set(both) | made == set(manifest.labelled.ids)


@SOME
@given(manifest=manifests(), share=st.floats(0.1, 0.6))
def test_groups_stay_together(manifest: Manifest, share: float) -> None:
    if split := split_or_none(manifest, share):
        training = [manifest.by_id[i] for i in split.training_ids]
        validation = [manifest.by_id[i] for i in split.validation_ids]
        assert not {r.group for r in training if r.group} & {r.group for r in validation}
        assert not {r.identity for r in training if r.identity} & {r.identity for r in validation}
        assert not {r.parent for r in training} & set(split.validation_ids)
        assert not {r.parent for r in validation} & set(split.training_ids)


@SOME
@given(manifest=manifests(), share=st.floats(0.1, 0.6))
def test_labels_with_two_groups_keep_one_for_training(manifest: Manifest, share: float) -> None:
    if split := split_or_none(manifest, share):
        learned = {c for i in split.training_ids for c in manifest.by_id[i].labels or ()}
        groups_with: list[int] = []
        for ids in grouped_ids(manifest):
            groups_with += {c for i in ids for c in manifest.by_id[i].labels or ()}
        assert {c for c in groups_with if groups_with.count(c) > 1} <= learned


@SOME
@given(manifest=manifests(), shuffler=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(manifest: Manifest, shuffler: random.Random) -> None:
    rows = list(manifest.rows)
    shuffler.shuffle(rows)
    assert split_or_none(Manifest(spec=SPEC, rows=tuple(rows))) == split_or_none(manifest)


def large() -> Manifest:
    rng = np.random.default_rng(1)
    chances = np.array([0.5, 0.3, 0.1, 0.03, 0.01])
    rows = []
    for n in range(2000):
        labels = tuple(np.flatnonzero(rng.random(CLASSES) < chances).tolist()) or (0,)
        rows.append(row(n, labels))
    return Manifest(spec=SPEC, rows=tuple(rows))


def test_a_share_of_every_label_is_held_out() -> None:
    manifest = large()
    split = hold_out(manifest, share=0.2, seed=0)
    truth = label_matrix([r.labels or () for r in manifest.rows], CLASSES).sum(axis=0)
    held_out = [manifest.by_id[i].labels or () for i in split.validation_ids]
    shares = label_matrix(held_out, CLASSES).sum(axis=0) / truth
    assert np.abs(shares - 0.2).max() < 0.03


def test_another_seed_holds_out_other_images() -> None:
    manifest = large()
    first, second = (hold_out(manifest, share=0.2, seed=seed) for seed in (0, 1))
    assert first.validation_ids != second.validation_ids


def test_an_identity_that_occurs_once_is_ignored() -> None:
    rows = tuple(row(n, (0,), identity=f"antibody{n}") for n in range(4))
    assert len(grouped_ids(Manifest(spec=SPEC, rows=rows))) == 4


def test_a_single_group_is_refused() -> None:
    rows = tuple(row(n, (0,), identity="the same") for n in range(4))
    with pytest.raises(UserError, match="one group"):
        hold_out(Manifest(spec=SPEC, rows=rows), share=0.2, seed=0)
