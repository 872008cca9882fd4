"""The choice of the fastest runtime whose vectors are still those of the embedder.

Every runtime is checked before it is used. If it fails, the next more exact one is tried: an export
in float32 is compared with torch, and lower precision with float32. Vectors in 8 bits must find
planted copies and siblings among the atlas's images as well as float32 does. Measurements are kept
below `work` and in the index.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from atlas.core.errors import UserError
from atlas.core.files import content_hash
from atlas.core.sealed_json import kept_json
from atlas.core.timing import stage
from atlas.dataset.artifacts import EmbeddingSet
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import ImageStore
from atlas.inference.openvino_runner import export_once, is_whole, quantise
from atlas.inference.runtimes import candidates, versions
from atlas.inference.settings import TORCH_FLOAT32, RuntimeChoice, RuntimeOptions
from atlas.workflows.embed.runtime_cache import RuntimeCache, own_hash
from index.copies.images import Images
from index.copies.trials import PlantedCopies, plant_copies, source_of
from index.search.vector_index import VectorIndex, build_index
from retrieval.embedder import Embedder
from retrieval.embedder_folder import EmbedderRuntime
from retrieval.embedding import embed_rows
from retrieval.settings import ForeignSettings

EXPORT_IMAGES = 8
LEAST_IMAGES, MOST_IMAGES, SHARE_OF_ATLAS = 64, 1000, 0.02
PERCENTILE = 1
LEAST_COSINE = {"float32": 0.9999, "bfloat16": 0.995}
CALIBRATION_IMAGES = 300
WORKING_PART = "backbone"  # the part of an EmbeddingNetwork that is worth quantising
LEAST_COPIES = 2000
GALLERY_IMAGES = 2000
LARGEST_FALL = 0.005  # the largest loss of either recall against float32


@dataclass(frozen=True, kw_only=True)
class Recall:
    """The shares of queries whose nearest image is the right one; 0 without queries.

    Attributes:
        copies, copy_count: Planted copies that find their source.
        siblings, sibling_count: Images of repeated identities that find an image of their identity.
    """

    copies: float
    copy_count: int
    siblings: float
    sibling_count: int

    def fall_to(self, other: "Recall") -> float:
        """Return the larger loss of recall in the other one, without floating-point noise."""
        return round(max(self.copies - other.copies, self.siblings - other.siblings), 9)


def with_runtime(
    embedder: Embedder,
    options: RuntimeOptions,
    store: ImageStore,
    references: Manifest,
    work: Path,
) -> Embedder:
    """Return the embedder with the wanted runtime, or with the next more exact one that passes.

    Args:
        embedder: The embedder.
        options: The wanted runtime and precision.
        store: The images.
        references: The images that the runtime is checked with.
        work: Where exports, checks and vectors are kept.

    Raises:
        UserError: This machine does not have the runtime or precision.
    """
    if isinstance(embedder.settings, ForeignSettings):
        return embedder  # the network of a file cannot be exported
    checker = _Checker(
        embedder=replace(embedder, runtime=None), store=store, references=references, work=work
    )
    checks: list[dict[str, Any]] = []
    for choice in candidates(options):
        ready, check = checker.checked(choice)
        checks.append(check)
        if ready.runtime is not None and check["passed"]:
            return replace(ready, runtime=replace(ready.runtime, checks=tuple(checks)))
    raise AssertionError("torch in float32 is what the others are compared with")


def recall_of(
    embedder: Embedder, store: ImageStore, references: Manifest, *, folder: Path
) -> Recall:
    """Measure what an embedder finds among 2,000 of the references, or all if there are fewer.

    Identities are not divided. 2,000 edited copies are planted, several of an image if there are
    fewer images. Vectors are kept below `folder`.
    """
    identities = {row.id: row.identity for row in references.rows}
    gallery_ids = _gallery(identities)

    def embedded(ids: Sequence[str], images: Images) -> EmbeddingSet:
        return embed_rows(
            embedder, images, ids, folder=folder, description=f"checking {images.what}",
        )  # fmt: skip

    stored = Images(what="references", source=store)
    gallery = embedded(gallery_ids, stored)
    index = build_index(gallery)
    hits = [
        source_of(copy) == other
        for copies in _planted(gallery_ids, stored, channels=len(store.channels))
        for copy, other in zip(
            copies.ids, _nearest(index, embedded(copies.ids, copies.images)), strict=True
        )
    ]
    known = _with_siblings(gallery_ids, identities)
    nearest = _nearest(index, gallery.aligned_to(known)) if known else []
    same = [identities[one] == identities[other] for one, other in zip(known, nearest, strict=True)]
    return Recall(
        copies=float(np.mean(hits)),
        copy_count=len(hits),
        siblings=float(np.mean(same)) if same else 0.0,
        sibling_count=len(same),
    )


@dataclass(frozen=True, kw_only=True)
class _Checker:
    """Checks runtimes against `embedder`, which runs on torch in float32."""

    embedder: Embedder
    store: ImageStore
    references: Manifest
    work: Path

    def checked(self, choice: RuntimeChoice) -> tuple[Embedder, dict[str, Any]]:
        """Return the embedder on this runtime, if there is one, and the check of it."""
        name: dict[str, Any] = {**asdict(choice), "versions": versions(choice)}
        if choice == TORCH_FLOAT32:
            return self._on(EmbedderRuntime(choice=choice)), {**name, "passed": True}
        try:
            ready = self._on(self._exported(choice))
        except UserError as error:
            return self.embedder, {**name, "passed": False, "problem": str(error)}
        assert ready.runtime is not None
        path = self._cache.check_file(ready.runtime)
        return ready, kept_json(path, lambda: {**name, **self._measured(ready)})

    def _on(self, runtime: EmbedderRuntime) -> Embedder:
        return replace(self.embedder, runtime=runtime)

    @property
    def _cache(self) -> RuntimeCache:
        return RuntimeCache(work=self.work, fingerprint=self.embedder.fingerprint)

    def _exported(self, choice: RuntimeChoice) -> EmbedderRuntime:
        if choice.runtime == "torch":
            return EmbedderRuntime(choice=choice)
        exact = self._cache.model(replace(choice, precision="float32"))
        side_px, channels = self.store.size_px, len(self.store.channels)
        shape = (self.embedder.images_at_once, channels, side_px, side_px)
        export_once(self.embedder.network, exact, shape_BCHW=shape)
        model = self._cache.model(choice)
        if model != exact and not is_whole(model):
            batches = self._calibration_batches()
            with stage("quantising"):
                quantise(exact, model, batches, part=WORKING_PART)
        return EmbedderRuntime(choice=choice, model=model, model_hash=own_hash(model, choice))

    def _calibration_batches(self) -> list[Any]:
        size = self.embedder.images_at_once
        ids = sorted(self.references.ids, key=content_hash)[:CALIBRATION_IMAGES]
        ids += ids[:1] * (-len(ids) % size)
        return [self.store.read(ids[start : start + size]) for start in range(0, len(ids), size)]

    def _measured(self, ready: Embedder) -> dict[str, Any]:
        cosines = self._cosines(ready)
        measured: dict[str, Any] = {
            "images": len(cosines),
            "cosine_percentile_1": float(np.percentile(cosines, PERCENTILE)),
            "cosine_least": float(cosines.min()),
        }
        least = LEAST_COSINE.get(ready.choice.precision)
        if least is not None:
            return {**measured, "passed": measured["cosine_percentile_1"] >= least}
        exact, own = self._recall(self._most_exact()), self._recall(ready)
        recalls = {"recall_float32": asdict(exact), "recall": asdict(own)}
        return {**measured, **recalls, "passed": exact.fall_to(own) <= LARGEST_FALL}

    def _cosines(self, ready: Embedder) -> Any:
        """Return the cosines to float32 of the first images, which are decoded first.

        An export in float32 is compared with torch, which is slow on a processor; as it differs
        only by rounding, a few images suffice. Lower precision is compared with that export, on a
        share of the images.
        """
        reference, count = self.embedder, EXPORT_IMAGES
        if ready.choice.precision != "float32":
            share = round(SHARE_OF_ATLAS * len(self.references.ids))
            count = min(max(share, LEAST_IMAGES), MOST_IMAGES)
            if ready.choice.runtime == "openvino":
                reference = self._most_exact()
        ids = self.references.ids[:count]
        exact, own = (
            embed_rows(
                each,
                self.store,
                ids,
                folder=None,
                description="checking the runtime",
            ).vectors_ND
            for each in (reference, ready)
        )
        return (exact * own).sum(axis=1)

    def _most_exact(self) -> Embedder:
        """Return the embedder in float32, by the faster runtime if that passes."""
        ready, check = self.checked(RuntimeChoice(runtime="openvino", precision="float32"))
        return ready if check["passed"] else self.embedder

    def _recall(self, embedder: Embedder) -> Recall:
        return recall_of(embedder, self.store, self.references, folder=self.work / "embeddings")


def _gallery(identities: dict[str, str | None]) -> list[str]:
    """Return images until there are enough; identities are included completely or not at all."""
    groups: dict[str, list[str]] = {}
    for image_id, identity in identities.items():
        groups.setdefault(f"identity {identity}" if identity else image_id, []).append(image_id)
    chosen: list[str] = []
    for name in sorted(groups, key=content_hash):
        if len(chosen) >= GALLERY_IMAGES:
            break
        chosen += groups[name]
    return chosen


def _planted(ids: Sequence[str], stored: Images, *, channels: int) -> list[PlantedCopies]:
    """Return rounds of at most one copy of each image, each with different edits."""
    rounds: list[PlantedCopies] = []
    left = LEAST_COPIES
    while left > 0:
        copies = plant_copies(ids, stored, channels=channels, count=left, seed=len(rounds))
        rounds.append(copies)
        left -= len(copies.ids)
    return rounds


def _with_siblings(ids: Sequence[str], identities: dict[str, str | None]) -> list[str]:
    sizes = Counter(identities[image_id] for image_id in ids)
    return [i for i in ids if identities[i] and sizes[identities[i]] > 1]


def _nearest(index: VectorIndex, queries: EmbeddingSet) -> list[str]:
    return [str(name) for name in index.search(queries, 1).reference_ids_NK[:, 0]]
