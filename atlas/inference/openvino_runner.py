"""Networks on OpenVINO, run from the files that they were exported to, without torch.

A model that is still in memory from its conversion gives other bits than the same one read from its
file, so everything is run from files. Axes: B images of a batch, C channels, H x W pixels.
"""

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import UserError
from atlas.core.files import content_hash
from atlas.core.timing import stage
from atlas.inference.settings import Precision

MODEL_FILE, WEIGHTS_FILE = "model.xml", "model.bin"
HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
CAPABILITIES: dict[Precision, str] = {"float32": "FP32", "bfloat16": "BF16", "int8": "INT8"}


def installed(package: str = "openvino") -> bool:
    return find_spec(package) is not None


def has_precision(precision: Precision) -> bool:
    """Whether the processor has it, by OpenVINO's own list."""
    found = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return CAPABILITIES[precision] in found


class OpenVinoRunner:
    """Batches of the shape that the model in `folder` was exported for, several at a time.

    Raises UserError for a model that cannot be read.
    """

    def __init__(self, folder: Path, precision: Precision) -> None:
        hints = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "THROUGHPUT",
            "ENABLE_CPU_PINNING": False,  # other work may want the same core
        }
        try:
            self._model = core().compile_model(str(folder / MODEL_FILE), "CPU", hints)
        except RuntimeError as error:
            raise UserError(
                f"{folder}: this exported network is damaged ({in_a_line(error)}); "
                "build the index again"
            ) from error

    @property
    def batch_size(self) -> int:
        return int(self._model.input(0).shape[0])

    def run(self, batches_BCHW: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        rows: dict[int, NDArray[np.float32]] = {}  # they need not end in order

        def keep(request: Any, begun: tuple[int, ExitStack]) -> None:
            number, span = begun
            rows[number] = request.get_output_tensor(0).data.copy()
            span.close()

        queue = openvino().AsyncInferQueue(self._model)
        queue.set_callback(keep)
        try:
            for number, images in enumerate(batches_BCHW):
                queue.get_idle_request_id()  # waits for one
                span = ExitStack()
                span.enter_context(stage("network", items=len(images)))
                queue.start_async({0: images}, (number, span))
        finally:
            queue.wait_all()
        return np.concatenate([rows[n] for n in range(len(rows))])


def model_hash(folder: Path) -> str:
    return content_hash(*((folder / name).read_bytes() for name in (MODEL_FILE, WEIGHTS_FILE)))


def in_a_line(error: Exception) -> str:
    """What OpenVINO says at last; before that it names its own files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


@cache
def openvino() -> Any:
    # Conversion and quantisation report their use over the network, unless the package that does
    # it cannot be imported.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


@cache
def core() -> Any:
    return openvino().Core()
