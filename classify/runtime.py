"""The runtime on which a classifier predicts: OpenVINO on processors if it is installed, or torch.

Only the body of a network is exported. Its head runs in torch in float32, because in bfloat16 many
images would have equal probabilities. Before an exported body is used, its probabilities are
compared with those of torch.

Axes: N images, B images of a batch, C channels, H x W pixels, F pooled features.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.core.files import content_hash, json_text
from atlas.core.sealed_json import kept_json
from atlas.core.timing import stage
from atlas.dataset.store import ImageStore
from atlas.inference.gpu import has_gpu
from atlas.inference.openvino_runner import OpenVinoRunner, export_once
from atlas.inference.runner import BATCH_SIZE, Runner, rows_of
from atlas.inference.runtimes import problem, versions
from atlas.inference.settings import Precision, RuntimeChoice
from atlas.inference.torch_runner import TorchRunner, evaluating
from classify.classifier import Classifier
from classify.settings import PredictionSettings
from classify.views import Body, Outputs, Probabilities

LOGGER = logging.getLogger(__name__)
CHECKED_IMAGES = 32
LARGEST_DIFFERENCE = {"float32": 0.001, "bfloat16": 0.05}  # of a probability from torch in float32


@dataclass(frozen=True, kw_only=True)
class PredictionRuntime:
    """The runtime of a classifier.

    Attributes:
        precision: The precision of the body.
        model: The folder of the exported body, which OpenVINO runs; None if torch runs everything.
    """

    precision: Precision
    model: Path | None = None

    def about(self) -> dict[str, Any]:
        """Return what outputs depend on, for their provenance."""
        return {"precision": self.precision, "runtime": "openvino" if self.model else "torch"}

    def runner(self, outputs: Outputs) -> Runner:
        """Return a runner of what is computed for images."""
        if self.model:
            return ExportedOutputs(outputs, self.model, self.precision)
        return TorchRunner(outputs, batch_size=BATCH_SIZE, precision=self.precision)


def prediction_runtime(
    classifier: Classifier,
    store: ImageStore,
    ids: Sequence[str],
    *,
    view_px: int | None,
    folder: Path,
) -> PredictionRuntime:
    """Return the runtime of a classifier on this machine.

    torch predicts on a GPU, without OpenVINO, and if OpenVINO cannot run the network or gives other
    probabilities.

    Args:
        classifier: The classifier.
        store: The stored images.
        ids: Images to compare probabilities on, of which the first 32 are used.
        view_px: The side of a view; None for whole images.
        folder: Folder that keeps exports and comparisons.
    """
    own = PredictionRuntime(precision=classifier.precision)
    choice = RuntimeChoice(runtime="openvino", precision=own.precision)
    if has_gpu() or problem(choice):
        return own
    side_px = view_px or store.size_px
    key = content_hash(classifier.weights_hash, json_text([versions(choice), side_px]))
    model = folder / key / "model"
    check = kept_json(
        folder / key / f"check-{choice.precision}.json",
        lambda: _check(classifier, store, ids[:CHECKED_IMAGES], model, side_px),
    )
    if check["problem"]:
        LOGGER.warning(f"the classifier predicts by torch, because {check['problem']}")
        return own
    _export(classifier, model, side_px)  # which may have been damaged since then
    return replace(own, model=model)


class ExportedOutputs:
    """A runner of outputs whose body is an exported one.

    Args:
        outputs: What is computed for an image.
        model: The folder of the exported body.
        precision: The precision of the body.

    Raises:
        DamagedFileError: The model was changed or damaged after it was written.
        UserError: OpenVINO cannot load the model.
    """

    def __init__(self, outputs: Outputs, model: Path, precision: Precision) -> None:
        self._outputs, self._body = outputs, OpenVinoRunner(model, precision)

    @property
    def batch_size(self) -> int:
        """The number of images of every batch."""
        return self._body.batch_size

    @property
    def streams(self) -> int:
        """One, because the mode of the head is changed while it runs."""
        return 1

    def run(self, batches_BCHW: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the outputs of all batches."""
        views = (
            np.ascontiguousarray(view)
            for images in batches_BCHW
            for view in self._outputs.views(torch.from_numpy(images))
        )
        pooled = torch.from_numpy(self._body.run(views))
        # The head gets batches of one shape, too.
        shape = (-1, self._outputs.view_count, self.batch_size, pooled.shape[1])
        with evaluating(self._outputs), torch.inference_mode():
            rows = [
                self._outputs.of_pooled(pooled_VBF.unbind()) for pooled_VBF in pooled.view(shape)
            ]
        return np.asarray(torch.cat(rows).numpy())


def _check(
    classifier: Classifier,
    store: ImageStore,
    ids: Sequence[str],
    model: Path,
    side_px: int,
) -> dict[str, Any]:
    """Return how far the probabilities of an exported body are from those of torch in float32."""
    outputs = Probabilities(classifier.network, PredictionSettings(view_px=side_px))
    exported = PredictionRuntime(precision=classifier.precision, model=model)
    try:
        _export(classifier, model, side_px)
        with stage("checking the runtime", items=len(ids)):
            found_NL, exact_NL = (
                rows_of(one.runner(outputs), store.read, ids)
                for one in (exported, PredictionRuntime(precision="float32"))
            )
    except UserError as error:
        return {"problem": str(error)}
    largest = float(np.abs(found_NL - exact_NL).max())
    wrong = largest > LARGEST_DIFFERENCE[exported.precision]
    differs = f"a probability by OpenVINO differs by {largest:.2g} from that by torch"
    return {
        "images": len(ids), "largest_difference": largest, "problem": differs if wrong else "",
    }  # fmt: skip


def _export(classifier: Classifier, model: Path, side_px: int) -> None:
    shape = (BATCH_SIZE, len(classifier.channels), side_px, side_px)
    export_once(Body(classifier.network), model, shape_BCHW=shape)
