"""The members of an ensemble: their probabilities of held-out images and of test images.

Axes: M members, N held-out images, Q test images, C classes, K networks of each member.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from atlas.core.errors import ProvenanceError, UserError
from atlas.core.files import content_hash
from atlas.dataset.artifacts import ProbabilitySet
from atlas.dataset.manifest import Manifest
from atlas.dataset.splits.hold_out import grouped_ids
from atlas.dataset.splits.label_folds import stratified_folds
from atlas.workflows.made_from import MadeFrom, images_of_predictions, require_same_images
from classify.decisions.layers import AskedRows, HeldOutRows
from classify.decisions.thresholds import load_thresholds
from classify.held_out import truth_of
from classify.run_files import load_held_out, load_test, load_test_by_network


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member of an ensemble.

    Attributes:
        held_out: Its probabilities of labelled images that it did not train on.
        test: Its probabilities of the test images; empty if the atlas has none.
        networks: The same from each of its networks alone.
    """

    held_out: ProbabilitySet
    test: ProbabilitySet
    networks: tuple[ProbabilitySet, ...]

    def about(self) -> dict[str, Any]:
        """Return hashes and provenance of the probabilities, for files that depend on them."""
        return {
            name: {
                "hash": content_hash(*said.ids, said.probabilities_NC),
                "provenance": said.provenance,
            }
            for name, said in (("held_out", self.held_out), ("test", self.test))
        }


def names_of(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the folders by name, or by path if two names are equal.

    Raises:
        UserError: There is no folder, or one is given twice.
    """
    if not folders:
        raise UserError("an ensemble needs members; give --members RUN/folds ...")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("--members names a folder twice; give each folder once")
    names = [folder.resolve().name for folder in folders]
    alike = {name for name in names if names.count(name) > 1}
    return {
        str(folder) if name in alike else name: folder
        for name, folder in zip(names, folders, strict=True)
    }


def load_members(
    manifest: Manifest, folders: Mapping[str, Path], keys: Mapping[str, str]
) -> dict[str, Member]:
    """Load the members, which must have probabilities of the same held-out and test images.

    Held-out images that were replaced since they were predicted are left out.

    Args:
        manifest: The images.
        folders: The folders of the members, by name.
        keys: The keys of the images, see `keys_of`.

    Raises:
        MissingStageError: A folder lacks a file.
        DataError: A folder has other labels.
        ProvenanceError: A folder belongs to another atlas, or test images were replaced.
        UserError: Members lack rows; the error names them and counts the missing rows.
    """
    members: dict[str, Member] = {}
    tests: list[MadeFrom] = []
    replaced: set[str] = set()
    labelled = set(manifest.labelled.ids)
    for name, folder in folders.items():
        load_thresholds(folder, manifest.spec.labels)
        one = _loaded(manifest, folder)
        members[name] = one
        tests.append(images_of_predictions(folder, one.test))
        replaced |= set(images_of_predictions(folder, one.held_out).changed(keys))
        held_out = set(one.held_out.ids)
        if held_out.isdisjoint(labelled):  # some may have left the atlas since then
            raise ProvenanceError(
                f"{folder}: {min(held_out)} is not a labelled image of this atlas; give --data the "
                "atlas of this classifier"
            )
    require_same_images(keys, *tests)
    members = {name: _without(member, replaced) for name, member in members.items()}
    asked = {i for member in members.values() for i in member.held_out.ids} & labelled
    _require_rows({n: m.held_out for n, m in members.items()}, asked, "held-out")
    _require_rows({n: m.test for n, m in members.items()}, set(manifest.of("test").ids), "test")
    return members


def held_out_rows(
    manifest: Manifest, members: Mapping[str, Member], *, folds: int, seed: int
) -> HeldOutRows:
    """Return the held-out images in the order of the manifest, divided into folds.

    Each fold has a share of every label, and no group is divided.

    Raises:
        UserError: There are fewer groups than folds.
    """
    said = set(next(iter(members.values())).held_out.ids)
    own = Manifest(spec=manifest.spec, rows=tuple(r for r in manifest.rows if r.id in said))
    fold_of = {
        image_id: k
        for k, fold in enumerate(stratified_folds(own, folds=folds, seed=seed))
        for image_id in fold.test_ids
    }
    group_of = {image_id: ids[0] for ids in grouped_ids(own) for image_id in ids}
    ids = tuple(image_id for image_id in own.ids if image_id in fold_of)  # all but made images
    return HeldOutRows(
        ids=ids,
        names=tuple(members),
        members_MNC=_stacked([member.held_out for member in members.values()], ids),
        truth_NC=truth_of(manifest, ids),
        fold_N=np.array([fold_of[i] for i in ids]),
        group_N=tuple(group_of[i] for i in ids),
        size_N=_sizes(manifest, ids),
    )


def asked_rows(manifest: Manifest, members: Mapping[str, Member]) -> AskedRows:
    """Return the test images in the order of the manifest, if there are any."""
    ids, sets = manifest.of("test").ids, [member.networks for member in members.values()]
    # A member with fewer networks than another repeats them in turn.
    by_network = [
        _stacked([networks[k % len(networks)] for networks in sets], ids)
        for k in range(max(map(len, sets)))
    ]
    return AskedRows(
        members_MQC=_stacked([member.test for member in members.values()], ids),
        networks_KMQC=np.stack(by_network),
        size_Q=_sizes(manifest, ids),
    )


def _without(member: Member, replaced: set[str]) -> Member:
    kept = [image_id for image_id in member.held_out.ids if image_id not in replaced]
    return replace(member, held_out=member.held_out.aligned_to(kept))


def _loaded(manifest: Manifest, folder: Path) -> Member:
    held_out = load_held_out(folder)
    if manifest.of("test").ids:
        networks = load_test_by_network(folder)
        return Member(held_out=held_out, test=load_test(folder), networks=networks)
    rows_NC = np.empty((0, len(manifest.spec.labels)), np.float32)
    none = ProbabilitySet(ids=(), probabilities_NC=rows_NC, provenance={})
    return Member(held_out=held_out, test=none, networks=(none,))


def _require_rows(said: Mapping[str, ProbabilitySet], ids: set[str], what: str) -> None:
    missing = {name: len(ids - set(one.ids)) for name, one in said.items()}
    if any(missing.values()):
        lacking = ", ".join(f"{name} lacks {n}" for name, n in missing.items() if n)
        raise UserError(
            f"members must have probabilities of the same {what} images, but of {len(ids)} "
            f"{lacking}; train them on the same folds, or leave them out"
        )


def _stacked(said: Sequence[ProbabilitySet], ids: tuple[str, ...]) -> np.ndarray:
    return np.stack([one.aligned_to(ids).probabilities_NC for one in said])


def _sizes(manifest: Manifest, ids: tuple[str, ...]) -> np.ndarray:
    rows = [manifest.by_id[image_id] for image_id in ids]
    return np.array([f"{row.width_px} x {row.height_px}" for row in rows], np.str_)
