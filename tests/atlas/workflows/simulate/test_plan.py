"""What a simulated test must hold, whatever the atlas."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from atlas.core.errors import UserError
from atlas.dataset.hpa import parse_hpa_id
from atlas.dataset.labels import parse_labels
from atlas.dataset.manifest import ImageRow, Manifest
from atlas.dataset.spec import HPA_2018, AtlasSpec
from atlas.synthetic.edits import EDITS
from atlas.workflows.settings import SimulationSettings
from atlas.workflows.simulate.plan import SimulationPlan, fitted, plan_simulation

SOME = settings(max_examples=40)
CLASSES = 6
SPEC = AtlasSpec(
    name="any", channels=("gray",), file_pattern="{id}.png",
    labels=tuple(f"label {c}" for c in range(CLASSES)),
)  # fmt: skip


def row(number: int, labels: tuple[int, ...], **known: str) -> ImageRow:
    return ImageRow(
        id=f"image{number:04d}", split="external" if number % 3 == 0 else "train", files=(),
        width_px=64, height_px=64, labels=labels, **known,
    )  # fmt: skip


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """20 to 90 rows, most with an identity, some in groups of duplicates, and a test row."""
    count = draw(st.integers(20, 90))
    labels = st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=3, unique=True)
    rows = []
    for n in range(count):
        known: dict[str, str] = {}
        if draw(st.integers(0, 9)):
            known["identity"] = f"antibody{draw(st.integers(0, count // 4))}"
        if draw(st.integers(0, 9)) == 0:
            known["group"] = f"duplicates{draw(st.integers(0, count // 6))}"
        rows.append(row(n, tuple(draw(labels)), **known))
    test = ImageRow(id="unlabelled", split="test", files=(), width_px=64, height_px=64)
    return Manifest(spec=SPEC, rows=(*rows, test))


settings_of = st.builds(
    SimulationSettings,
    test_share=st.floats(0.1, 0.6),
    copies_share=st.floats(0, 0.3),
    siblings_share=st.floats(0, 0.3),
    seed=st.integers(0, 3),
)


def planned(manifest: Manifest, chosen: SimulationSettings) -> SimulationPlan:
    try:
        return plan_simulation(manifest, chosen)
    except UserError:
        assume(False)
        raise


@SOME
@given(manifest=manifests(), chosen=settings_of)
def test_relations_are_what_they_are_called(manifest: Manifest, chosen: SimulationSettings) -> None:
    plan = planned(manifest, chosen)
    stay = {i: manifest.by_id[i] for i in plan.training_ids}
    by_relation = {
        relation: [image for image in plan.test if image.relation == relation]
        for relation in ("same_image", "sibling", "novel")
    }
    taken = [image.original for name in ("sibling", "novel") for image in by_relation[name]]
    # Every labelled image is at one place, once.
    assert sorted([*stay, *taken]) == sorted(manifest.labelled.ids)
    known = Counter(image.identity for image in stay.values())
    for image in by_relation["same_image"]:
        assert image.source == image.original
        assert image.source in stay
        assert image.edit in EDITS
    for image in by_relation["sibling"]:
        assert image.source == manifest.by_id[image.original].identity
        assert known[image.source] >= 2
    for image in by_relation["novel"]:
        identity = manifest.by_id[image.original].identity
        assert identity is None or identity not in known
    # Duplicates are never parted.
    groups = [{manifest.by_id[i].group for i in ids} - {None} for ids in (stay, taken)]
    assert not groups[0] & groups[1]


@SOME
@given(manifest=manifests(), chosen=settings_of)
def test_rates_are_met_within_rounding_and_a_group(
    manifest: Manifest, chosen: SimulationSettings
) -> None:
    plan = planned(manifest, chosen)
    total = round(chosen.test_share * len(manifest.labelled.rows))
    assert plan.count("same_image") == round(chosen.copies_share * total)
    assert plan.count("sibling") <= round(chosen.siblings_share * total)
    assert len(plan.test) <= total
    short = [said for said in plan.said if "requested images" in said]
    assert bool(short) == (len(plan.test) < total)


@SOME
@given(manifest=manifests(), chosen=settings_of)
def test_every_label_stays_and_ids_tell_nothing(
    manifest: Manifest, chosen: SimulationSettings
) -> None:
    plan = planned(manifest, chosen)
    shuffled = Manifest(spec=SPEC, rows=tuple(reversed(manifest.rows)))
    # Labels of a single group may go; those of more keep one.
    holders: dict[int, set[str]] = {}
    for image in manifest.labelled.rows:
        tie = image.identity or image.group or image.id
        for label in image.labels or ():
            holders.setdefault(label, set()).add(tie)
    stay = {label for i in plan.training_ids for label in manifest.by_id[i].labels or ()}
    grouped = any(image.group for image in manifest.labelled.rows)
    assert grouped or stay >= {label for label, ties in holders.items() if len(ties) > 1}
    ids = [image.id for image in plan.test]
    assert ids == sorted(set(ids))
    assert not set(ids) & set(manifest.ids)
    assert plan_simulation(shuffled, chosen) == plan


def test_an_atlas_without_identities_has_no_siblings_and_says_so() -> None:
    rows = tuple(row(n, (n % CLASSES,)) for n in range(100))
    plan = plan_simulation(Manifest(spec=SPEC, rows=rows), SimulationSettings())
    assert Counter(image.relation for image in plan.test) == {"same_image": 1, "novel": 19}
    assert "no siblings" in plan.said[0]


def test_siblings_are_spread_over_identities_which_keep_two() -> None:
    rows = tuple(row(n, (n % CLASSES,), identity=f"a{n // 4}") for n in range(400))
    half = SimulationSettings(test_share=0.5, siblings_share=0.2)
    plan = plan_simulation(Manifest(spec=SPEC, rows=rows), half)
    each = Counter(image.source for image in plan.test if image.relation == "sibling")
    assert each.total() == 40
    assert set(each.values()) == {1}  # 100 identities of which about 40 are others
    none = tuple(row(n, (n % CLASSES,), identity=f"a{n // 2}") for n in range(400))
    said = plan_simulation(Manifest(spec=SPEC, rows=none), SimulationSettings()).said
    assert said == ("sibling: 0 of 6 requested images were found, because an identity must keep "
                    "2 images, and every label one",)  # fmt: skip


def test_every_edit_is_planted_equally_often() -> None:
    rows = tuple(row(n, (n % CLASSES,)) for n in range(300))
    many = SimulationSettings(test_share=0.3, copies_share=0.3)
    plan = plan_simulation(Manifest(spec=SPEC, rows=rows), many)
    counts = Counter(image.edit for image in plan.test if image.edit)
    assert counts == dict.fromkeys(EDITS, 3)


def test_fitted_by_hand() -> None:
    """Labels 0 (groups 0, 1, 2) and 1 (groups 2, 3). Out are 0, 1, 3 of 3, 2 and 2 images."""
    sizes = np.array([3, 2, 5, 2, 1])
    labels = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [1, 0]], bool)
    out = np.array([1, 1, 0, 1, 0], bool)
    # 6 wanted: group 3 is the last of label 1 in test, so the first of the others comes back, and
    # what fits into the room goes out: group 4.
    found = fitted(out, sizes, labels, 6, [3, 1, 0, 2, 4])
    assert found.tolist() == [True, False, False, True, True]


def test_what_was_made_from_others_is_refused() -> None:
    rows = (row(0, (0,)), row(1, (0,), parent="image0000"), row(2, (1,)))
    with pytest.raises(UserError, match="image0001 was made from image0000"):
        plan_simulation(Manifest(spec=SPEC, rows=rows), SimulationSettings(test_share=0.5))


def test_one_identity_leaves_nothing_to_take_out() -> None:
    rows = tuple(row(n, (0,), identity="a") for n in range(20))
    with pytest.raises(UserError, match="1 groups"):
        plan_simulation(Manifest(spec=SPEC, rows=rows), SimulationSettings())


@pytest.mark.real
def test_the_real_tables_keep_every_label_on_both_sides(shared: Path) -> None:
    rows = []
    for name, split in (("train.csv", "train"), ("HPAv18RBGY_wodpl.csv", "external")):
        for line in (shared / "labels" / name).read_text().splitlines()[1:]:
            image_id, target = line.split(",")
            named = parse_hpa_id(image_id)
            rows.append(
                ImageRow(
                    id=image_id, split=split, files=(),  # type: ignore[arg-type]
                    width_px=512, height_px=512,
                    labels=parse_labels(target), identity=named.antibody if named else None,
                )
            )  # fmt: skip
    manifest = Manifest(spec=HPA_2018, rows=tuple(rows))
    plan = plan_simulation(manifest, SimulationSettings())
    shares = {name: plan.count(name) / len(plan.test) for name in ("same_image", "sibling")}
    assert shares == pytest.approx({"same_image": 0.026, "sibling": 0.07}, abs=1e-4)
    assert len(plan.test) == round(0.2 * len(rows))
    tested = Counter(x for i in plan.test for x in manifest.by_id[i.original].labels or ())
    trained = Counter(x for i in plan.training_ids for x in manifest.by_id[i].labels or ())
    for label in range(28):
        assert trained[label]
        assert 0.1 < tested[label] / (tested[label] + trained[label]) < 0.35
