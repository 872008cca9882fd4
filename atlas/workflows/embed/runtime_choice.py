"""Choosing what an embedder runs on: the fastest way whose embeddings are still the embedder's.

Every way is checked against torch in float32 before it is taken, and gives way to the next more
exact one where it fails. What was measured is kept below `work`, and goes into the index.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from atlas.core.errors import Stage, UserError
from atlas.core.files import content_hash, json_text, read_json, write_json
from atlas.core.timing import stage
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import ImageStore
from atlas.inference import openvino_runner
from atlas.inference.openvino_export import export, quantise
from atlas.inference.openvino_runner import model_hash
from atlas.inference.runtimes import candidates, versions
from atlas.inference.settings import TORCH_FLOAT32, RuntimeChoice, RuntimeOptions
from atlas.workflows.embed.runtime_recall import LARGEST_FALL, Recall, recall_of
from retrieval.embedder import Embedder
from retrieval.embedder_runtime import EmbedderRuntime
from retrieval.embedding import embed_store

LEAST_IMAGES, MOST_IMAGES, SHARE_OF_ATLAS = 64, 1000, 0.02
PERCENTILE = 1
LEAST_COSINE = {"float32": 0.9999, "bfloat16": 0.995}
CALIBRATION_IMAGES = 300
WORKING_PART = "trunk"  # of an EmbeddingNetwork: what 8 bits are worth it for


def with_runtime(
    embedder: Embedder,
    options: RuntimeOptions,
    store: ImageStore,
    references: Manifest,
    work: Path,
) -> Embedder:
    """The embedder with the runtime that is asked for, or the next more exact one that passes.

    references: images that it is checked on. work: where exports, checks and embeddings are kept.
    Raises UserError for a runtime or precision that this machine does not have.
    """
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


@dataclass(frozen=True, kw_only=True)
class _Checker:
    """embedder: on torch in float32."""

    embedder: Embedder
    store: ImageStore
    references: Manifest
    work: Path

    def checked(self, choice: RuntimeChoice) -> tuple[Embedder, dict[str, Any]]:
        """The embedder on it, where that could be made, and what was measured or is kept."""
        name: dict[str, Any] = {**asdict(choice), "versions": versions(choice)}
        if choice == TORCH_FLOAT32:
            return self._on(EmbedderRuntime(choice=choice)), {**name, "passed": True}
        try:
            ready = self._on(self._exported(choice))
        except UserError as error:
            return self.embedder, {**name, "passed": False, "problem": str(error)}
        path = self._folder(choice) / f"check-{content_hash(ready.maker)}.json"
        if not path.exists():
            write_json(path, {**name, **self._measured(ready)})
        return ready, read_json(path, stage=Stage.INDEX)

    def _on(self, runtime: EmbedderRuntime) -> Embedder:
        return replace(self.embedder, runtime=runtime)

    def _folder(self, choice: RuntimeChoice) -> Path:
        """Of one embedder and one state of the libraries."""
        key = content_hash(self.embedder.fingerprint, json_text(versions(choice)))
        return self.work / "runtimes" / key

    def _exported(self, choice: RuntimeChoice) -> EmbedderRuntime:
        if choice.runtime == "torch":
            return EmbedderRuntime(choice=choice)
        exact = self._folder(choice) / "model"
        if not (exact / openvino_runner.MODEL_FILE).exists():
            side_px, channels = self.store.size_px, len(self.store.channels)
            shape = (self.embedder.images_at_once, channels, side_px, side_px)
            with stage("exporting the network"):
                export(self.embedder.network, exact, shape_BCHW=shape)
        if choice.precision != "int8":
            return EmbedderRuntime(choice=choice, model=exact)
        quantised = exact.with_name("model-int8")
        if not (quantised / openvino_runner.MODEL_FILE).exists():
            batches = self._calibration_batches()
            with stage("quantising"):
                quantise(exact, quantised, batches, part=WORKING_PART)
        return EmbedderRuntime(choice=choice, model=quantised, model_hash=model_hash(quantised))

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
        """To torch in float32, of a share of the images: the first, which are decoded first."""
        count = round(SHARE_OF_ATLAS * len(self.references.ids))
        ids = self.references.ids[: min(max(count, LEAST_IMAGES), MOST_IMAGES)]
        exact, own = (
            embed_store(each, self.store, ids, folder=None).vectors_ND
            for each in (self.embedder, ready)
        )
        return (exact * own).sum(axis=1)

    def _most_exact(self) -> Embedder:
        """In float32, by the faster runtime where that passes."""
        ready, check = self.checked(RuntimeChoice(runtime="openvino", precision="float32"))
        return ready if check["passed"] else self.embedder

    def _recall(self, embedder: Embedder) -> Recall:
        return recall_of(embedder, self.store, self.references, folder=self.work / "embeddings")
