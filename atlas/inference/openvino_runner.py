"""Networks that run on OpenVINO: exported to files, and run from these files without torch.

A model in memory, just after its conversion, gives other bits than the same model read from its
file, so all networks are run from files. Only the export loads torch, which takes seconds.

Axes: B images of a batch, C channels, H x W pixels.
"""

import errno
import logging
import re
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.errors import MissingStageError, Stage, UserError
from atlas.core.files import content_hash
from atlas.core.result_files import check_result, read_result
from atlas.core.result_folder import folder_written_beside
from atlas.core.row_file import DamagedFileError
from atlas.core.timing import stage
from atlas.inference.settings import Precision

if TYPE_CHECKING:
    from torch import nn

MODEL_FILE, WEIGHTS_FILE = "model.xml", "model.bin"
HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
CAPABILITIES: dict[Precision, str] = {"float32": "FP32", "bfloat16": "BF16", "int8": "INT8"}


def installed(package: str = "openvino") -> bool:
    """Return whether a package is installed."""
    return find_spec(package) is not None


def has_precision(precision: Precision) -> bool:
    """Return whether OpenVINO reports that the processor supports a precision."""
    found = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return CAPABILITIES[precision] in found


class OpenVinoRunner:
    """Run batches, several at a time, of the shape for which the model in `folder` was exported.

    Raises:
        DamagedFileError: The model was changed or damaged after it was written.
        UserError: OpenVINO cannot load the model.
    """

    def __init__(self, folder: Path, precision: Precision) -> None:
        check_model(folder, Stage.INDEX)
        hints = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "THROUGHPUT",
            "ENABLE_CPU_PINNING": False,  # other work may need the same core
        }
        try:
            self._model = _core().compile_model(str(folder / MODEL_FILE), "CPU", hints)
        except RuntimeError as error:
            raise UserError(
                f"{folder}: OpenVINO cannot load this exported network ({_in_a_line(error)}); "
                "delete this folder and repeat the command"
            ) from error

    @property
    def batch_size(self) -> int:
        """The number of images of every batch."""
        return int(self._model.input(0).shape[0])

    @property
    def streams(self) -> int:
        """The number of batches that OpenVINO runs at a time."""
        return int(self._model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def run(self, batches_BCHW: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the outputs of all batches, N x D."""
        rows: dict[int, NDArray[np.float32]] = {}  # batches may end in any order

        def keep(request: Any, begun: tuple[int, ExitStack]) -> None:
            number, span = begun
            rows[number] = request.get_output_tensor(0).data.copy()
            span.close()

        queue = _openvino().AsyncInferQueue(self._model)
        queue.set_callback(keep)
        with _finished(queue):
            for number, images in enumerate(batches_BCHW):
                queue.get_idle_request_id()  # waits for an idle request
                span = ExitStack()
                span.enter_context(stage("network", items=len(images)))
                queue.start_async({0: images}, (number, span))
        return np.concatenate([rows[n] for n in range(len(rows))])


@contextmanager
def _finished(queue: Any) -> Iterator[None]:
    """Wait for all batches at the end of the block, or cancel them after an error or Ctrl-C.

    A batch that a thread still computes must not outlive the queue.
    """
    try:
        yield
    except BaseException:
        for request in queue:
            request.cancel()
        with suppress(RuntimeError):  # this error says that the requests were cancelled
            queue.wait_all()
        raise
    queue.wait_all()


def export(network: "nn.Module", folder: Path, *, shape_BCHW: tuple[int, int, int, int]) -> None:
    """Write a network that accepts uint8 batches of this shape, in float32.

    Raises:
        UserError: OpenVINO cannot convert the network.
    """
    import torch

    was_training = network.training
    batch = torch.zeros(shape_BCHW, dtype=torch.uint8)
    try:
        with torch.inference_mode(), warnings.catch_warnings(), _unchanged_root_logger():
            warnings.simplefilter("ignore")  # tracing warns of values that it treats as constant
            model = _openvino().convert_model(
                network.eval().cpu(),
                example_input=batch,
                input=[(list(shape_BCHW), _openvino().Type.u8)],
            )
    except Exception as error:  # OpenVINO raises many types of exceptions
        raise UserError(f"OpenVINO cannot convert this network ({_in_a_line(error)})") from error
    finally:
        network.train(was_training)
    _save(model, folder)


def export_once(
    network: "nn.Module", folder: Path, *, shape_BCHW: tuple[int, int, int, int]
) -> None:
    """Export a network unless a whole export of it is in the folder.

    Raises:
        UserError: OpenVINO cannot convert the network.
    """
    if not is_whole(folder):
        with stage("exporting the network"):
            export(network, folder, shape_BCHW=shape_BCHW)


def quantise(
    source: Path, folder: Path, batches_BCHW: Sequence[NDArray[np.uint8]], *, part: str
) -> None:
    """Write the exported model `source` with one part of it in 8 bits.

    The ranges of its values are measured on the given batches.

    Args:
        source: The folder of the exported model.
        folder: The folder for the new model.
        batches_BCHW: The batches for the measurement.
        part: The attribute of the network that does nearly all of the work. The other parts keep
            their precision.
    """
    exact = _core().read_model(str(source / MODEL_FILE))
    # nncf asks torch for the CUDA compiler, and torch warns if there is none.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf

    nncf.set_log_level(logging.ERROR)
    # An operation is named by the attribute in which it was traced, or else by its name in torch.
    rest = nncf.IgnoredScope(patterns=[rf"^(aten::|__module\.(?!{part})).*"], validate=False)
    model = nncf.quantize(
        exact,
        nncf.Dataset(batches_BCHW),
        subset_size=len(batches_BCHW),
        preset=nncf.QuantizationPreset.MIXED,  # activations are not symmetric
        ignored_scope=rest,
    )
    _save(model, folder)


def model_hash(folder: Path) -> str:
    """Return a hash of the files of an exported model."""
    return content_hash(*(read_result(folder / name) for name in (MODEL_FILE, WEIGHTS_FILE)))


def check_model(folder: Path, stage: Stage | None = None) -> None:
    """Compare the files of an exported model with their checksums, see `check_result`."""
    for name in (MODEL_FILE, WEIGHTS_FILE):
        check_result(folder / name, stage)


def is_whole(model: Path) -> bool:
    """Return whether an exported model can be used; a damaged one is removed."""
    try:
        check_model(model)
    except MissingStageError:
        return False
    except DamagedFileError:
        shutil.rmtree(model)
        return False
    return True


@contextmanager
def _unchanged_root_logger() -> Iterator[None]:
    """Restore the root logger, which OpenVINO silences for good where a conversion fails."""
    root = logging.getLogger()
    level, filters, handlers = root.level, root.filters[:], root.handlers[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters, root.handlers = filters, handlers


def _in_a_line(error: Exception) -> str:
    """Return the last line of an error, because the lines before it name files of OpenVINO."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


@cache
def _openvino() -> Any:
    # Conversion and quantisation send telemetry unless this package cannot be imported.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


@cache
def _core() -> Any:
    return _openvino().Core()


def _save(model: Any, folder: Path) -> None:
    _number_names(model)
    with folder_written_beside(folder, written_by="build_index") as beside:
        try:
            _openvino().save_model(model, str(beside / MODEL_FILE), compress_to_fp16=False)
        except RuntimeError as error:  # OpenVINO removes the half file, and does not say why
            reason = f"OpenVINO cannot write the model; is the disk full? ({_in_a_line(error)})"
            raise OSError(errno.EIO, reason, str(folder)) from error


def _number_names(model: Any) -> None:
    """Name operations by their place in the model, so that equal models give equal files.

    OpenVINO numbers names by the operations that the process has made so far, such as `Add_4711`.
    """
    model.set_friendly_name("model")
    for number, operation in enumerate(model.get_ordered_ops()):
        own = re.sub(r"_\d+(?=$|/)", f"_n{number}", operation.get_friendly_name(), count=1)
        operation.set_friendly_name(own)
