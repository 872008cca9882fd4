from dataclasses import replace

import pandas as pd

from retrieval.embedder_folder import HeldOut
from retrieval.evaluation.protocols import (
    class_kind,
    label_set,
    labelled_classes,
    labelled_protocols,
    truth_protocols,
)
from tests.retrieval.made import antibodies, manifest

ATLAS = manifest(antibodies(6, 4) | {"lone": "once", "plain": None})
HELD_OUT = HeldOut(
    held_out_ids=("f0_0", "f1_0", "of another atlas"),
    unseen_identity_ids=tuple(f"f{a}_{n}" for a in (2, 3, 4, 5) for n in range(4)),
)


def measured_by(held_out: HeldOut, *, kind="identity", untrained: bool = False, seed: int = 0):
    return labelled_protocols(ATLAS, kind, held_out, untrained=untrained, seed=seed)


def test_a_class_is_an_identity_that_occurs_twice_or_a_set_of_labels() -> None:
    assert class_kind(ATLAS, "auto") == "identity"
    assert class_kind(ATLAS, "label-set") == "label-set"
    assert class_kind(manifest({"a": "x", "b": "y"}), "auto") == "label-set"
    identities = labelled_classes(ATLAS, "identity")
    assert identities["f3_1"] == "antibody3"
    assert not {"lone", "plain"} & set(identities)
    assert labelled_classes(ATLAS, "label-set")["lone"] == (0,)
    assert label_set((7, 1)) == label_set((1, 7)) == (1, 7)


def test_held_out_images_are_compared_with_the_training_images() -> None:
    closed = measured_by(HELD_OUT, seed=0)[0]
    assert closed.name == "closed"
    assert closed.query_ids == ("f0_0", "f1_0")
    assert set(closed.reference_ids) == {f"f{a}_{n}" for a in (0, 1) for n in (1, 2, 3)}


def test_unseen_identities_are_compared_with_each_other() -> None:
    opened = measured_by(HELD_OUT, seed=0)[1]
    assert opened.name == "open"
    assert opened.query_ids == opened.reference_ids == HELD_OUT.unseen_identity_ids


def test_half_of_the_unseen_identities_are_in_the_gallery_and_half_are_non_matches() -> None:
    chosen = []
    for seed in range(6):
        protocol = measured_by(HELD_OUT, seed=seed)[2]
        assert protocol.name == "open_set"
        known = {protocol.classes[i] for i in protocol.reference_ids}
        probes = [i for i in protocol.query_ids if protocol.classes[i] in known]
        non_matches = [i for i in protocol.query_ids if protocol.classes[i] not in known]
        assert (len(known), len(probes), len(non_matches)) == (2, 2, 8)
        assert len(protocol.reference_ids) == 6
        assert not set(protocol.query_ids) & set(protocol.reference_ids)
        rotated = replace(HELD_OUT, unseen_identity_ids=HELD_OUT.unseen_identity_ids[::-1])
        again = measured_by(rotated, seed=seed)[2]
        assert set(again.query_ids) == set(protocol.query_ids)
        chosen.append(frozenset(probes))
    assert len(set(chosen)) > 1


def test_nothing_held_out_makes_no_protocol() -> None:
    assert measured_by(HeldOut(), seed=0) == []
    elsewhere = HeldOut(held_out_ids=("x",), unseen_identity_ids=("y",))
    assert measured_by(elsewhere, seed=0) == []


def test_an_untrained_embedder_queries_every_image_with_a_class_unless_lists_are_given() -> None:
    (protocol,) = measured_by(HeldOut(), untrained=True)
    assert protocol.name == "all"
    assert protocol.query_ids == protocol.reference_ids
    assert len(protocol.query_ids) == 24
    (of_labels,) = measured_by(HeldOut(), kind="label-set", untrained=True)
    assert len(of_labels.query_ids) == 26
    names = [one.name for one in measured_by(HELD_OUT, untrained=True)]
    assert names == ["closed", "open", "open_set"]


TRUTH = pd.DataFrame(
    [
        ("t1", "same_image", "f0_1", "0"),
        ("t2", "same_image", "not there", "0"),
        ("t3", "sibling", "antibody4", "7 1"),
        ("t4", "novel", "antibody99", "3"),
        ("t5", "unsure", "f0_2", "0"),
    ],
    columns=["Id", "relation", "source", "Target"],
)


def test_known_relations_make_protocols_of_their_own() -> None:
    test, same_image, sibling = truth_protocols(ATLAS, TRUTH)
    assert test.query_ids == ("t1", "t2", "t3", "t4", "t5")
    assert test.reference_ids == ATLAS.ids
    assert test.classes["t3"] == (1, 7)
    assert test.relations is not None
    assert test.relations["t4"] == "novel"
    # Only the source itself is a correct answer; queries that are not copies are non-matches.
    assert same_image.query_ids == ("t1", "t3", "t4")
    assert [i for i in ATLAS.ids if same_image.classes[i] == same_image.classes["t1"]] == ["f0_1"]
    assert not {"t3", "t4"} & set(same_image.classes)
    # Any image of the identity is a correct answer.
    assert sibling.query_ids == ("t3", "t4")
    fields = [i for i in ATLAS.ids if sibling.classes.get(i) == sibling.classes["t3"]]
    assert fields == [f"f4_{n}" for n in range(4)]


def test_labels_alone_make_the_test_protocol_alone() -> None:
    (test,) = truth_protocols(ATLAS, TRUTH[["Id", "Target"]])
    assert test.relations is None
    assert test.name == "test"


def test_relations_without_a_source_that_is_labelled_make_no_protocol() -> None:
    (only,) = truth_protocols(ATLAS, TRUTH.assign(source=""))
    assert only.name == "test"
