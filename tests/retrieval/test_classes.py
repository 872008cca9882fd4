from dataclasses import replace

import numpy as np
import pytest

from atlas.core.errors import UserError
from retrieval.classes import edited_copy, training_classes
from tests.retrieval.made import antibodies, manifest, settings


def test_three_quarters_of_an_identity_are_for_training() -> None:
    classes = training_classes(manifest(antibodies(3, 8)), settings())
    assert classes.kind == "identity"
    assert classes.class_count == 3
    assert len(classes.training_ids) == 18
    assert len(classes.held_out.held_out_ids) == 6
    assert not set(classes.training_ids) & set(classes.held_out.held_out_ids)
    assert set(classes.gallery_ids) <= set(classes.training_ids)


@pytest.mark.parametrize(("fields", "held"), [(2, 1), (3, 1), (4, 1), (8, 2)])
def test_at_least_one_field_is_held_out(fields: int, held: int) -> None:
    classes = training_classes(manifest(antibodies(2, fields)), settings())
    assert len(classes.held_out.held_out_ids) == 2 * held


def test_an_identity_that_occurs_once_counts_as_none() -> None:
    rows = {**antibodies(2, 3), "alone": "antibody9", "without": None}
    classes = training_classes(manifest(rows), settings())
    assert "alone" not in classes.class_of
    assert "without" not in classes.class_of


def test_unseen_identities_are_not_used_for_training() -> None:
    identities = antibodies(10, 3)
    classes = training_classes(manifest(identities), settings(unseen_identity_share=0.3))
    unseen = {identities[i] for i in classes.held_out.unseen_identity_ids}
    assert len(unseen) == 3
    assert len(classes.held_out.unseen_identity_ids) == 9
    assert not unseen & {identities[i] for i in classes.class_of}
    assert sorted(set(classes.class_of.values())) == list(range(7))


def test_the_order_of_the_table_does_not_matter_but_the_seed_does() -> None:
    identities = antibodies(6, 5)
    one = training_classes(manifest(identities), settings())
    back = training_classes(manifest(dict(reversed(identities.items()))), settings())
    assert one.held_out == back.held_out
    assert one.class_of == back.class_of
    other = replace(settings().training, seed=1)
    assert training_classes(manifest(identities), settings(training=other)).held_out != one.held_out


def test_without_repeated_identities_each_image_is_a_class() -> None:
    classes = training_classes(manifest({"a": "x", "b": None, "c": "y"}), settings())
    assert classes.kind == "image"
    assert classes.class_of == {"a": 0, "b": 1, "c": 2}
    assert classes.training_ids == classes.gallery_ids == ("a", "b", "c")
    assert "edited copy" in classes.summary


def test_edited_copies_follow_from_seed_and_id_and_differ_from_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 32), dtype=np.uint8)
    for image_id in map(str, range(20)):
        copy = edited_copy(image, image_id, seed=0)
        assert np.array_equal(copy, edited_copy(image, image_id, seed=0))
        assert not np.array_equal(copy, image)


@pytest.mark.parametrize("identities", [{"a": None}, {"a": "x", "b": "x"}])
def test_too_few_classes_are_refused(identities: dict[str, str | None]) -> None:
    with pytest.raises(UserError):
        training_classes(manifest(identities), settings())


def test_images_of_one_group_stay_together() -> None:
    identities = antibodies(6, 8)
    groups = {f"f{a}_{n}": f"well{a}_{n // 2}" for a in range(6) for n in range(8)}
    groups |= {"f0_0": "copies", "f1_0": "copies", "f2_0": "copies"}  # reaches over identities
    for seed in range(5):
        how = settings(training=replace(settings().training, seed=seed))
        classes = training_classes(manifest(identities, groups=groups), how)
        held_out = set(classes.held_out.held_out_ids)
        assert held_out
        assert {groups[i] for i in held_out}.isdisjoint(groups[i] for i in classes.training_ids)
        assert {identities[i] for i in classes.training_ids} == set(identities.values())


LABELS: dict[str, tuple[int, ...]] = {f"i{n:02d}": ((0,), (1,), (2, 0))[n % 3] for n in range(30)}


@pytest.mark.parametrize("kind", ["label-set", "label-similarity"])
def test_label_sets_hold_out_a_share_of_each(kind: str) -> None:
    made = manifest(dict.fromkeys(LABELS), labels=LABELS)
    classes = training_classes(made, settings(classes=kind, hold_out_share=0.2))
    held_out = classes.held_out.held_out_ids
    assert classes.kind == kind
    assert classes.class_count == 3
    assert len(held_out) == 6
    assert {LABELS[i] for i in held_out} == set(LABELS.values())
    assert sorted((*held_out, *classes.training_ids)) == sorted(LABELS)


def test_the_only_image_of_a_label_set_is_used_for_training() -> None:
    labels = {**LABELS, "alone": (0, 1, 2)}
    for seed in range(5):
        how = settings(classes="label-set", training=replace(settings().training, seed=seed))
        classes = training_classes(manifest(dict.fromkeys(labels), labels=labels), how)
        assert "alone" in classes.training_ids
        assert ", 1 of them with a single image;" in classes.summary


def test_targets_are_classes_or_whole_label_sets() -> None:
    made = manifest(dict.fromkeys(LABELS), labels=LABELS)
    sets = training_classes(made, settings(classes="label-set"))
    # Label sets are numbered in their own order: (0,), (1,), (0, 2) sorts as (0,), (0, 2), (1,).
    assert sets.targets(["i02", "i00", "i01"]).tolist() == [1, 0, 2]
    similar = training_classes(made, settings(classes="label-similarity"))
    assert similar.targets(["i02", "i01"]).tolist() == [[1, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize("kind", ["identity", "label-set", "label-similarity"])
def test_classes_without_any_difference_are_refused(kind: str) -> None:
    with pytest.raises(UserError):
        training_classes(manifest(dict.fromkeys("abcd")), settings(classes=kind))
