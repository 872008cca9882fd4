"""Networks written to files for OpenVINO. Axes: B images of a batch, C channels, H x W pixels."""

import logging
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from atlas.core.errors import UserError
from atlas.core.files import folder_written_beside
from atlas.inference.openvino_runner import MODEL_FILE, core, in_a_line, openvino


def export(network: nn.Module, folder: Path, *, shape_BCHW: tuple[int, int, int, int]) -> None:
    """Writes a network that takes uint8 batches of this shape, in float32.

    Raises UserError for a network that OpenVINO cannot take.
    """
    was_training = network.training
    batch = torch.zeros(shape_BCHW, dtype=torch.uint8)
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing tells what it takes for constant: all may be
            model = openvino().convert_model(
                network.eval().cpu(),
                example_input=batch,
                input=[(list(shape_BCHW), openvino().Type.u8)],
            )
    except Exception as error:  # of a dozen kinds, in many lines
        raise UserError(f"OpenVINO cannot take this network ({in_a_line(error)})") from error
    finally:
        network.train(was_training)
    _save(model, folder)


def quantise(
    source: Path, folder: Path, batches_BCHW: Sequence[NDArray[np.uint8]], *, part: str
) -> None:
    """Writes the exported model `source` with one part of it in 8 bits, whose ranges are measured
    on these batches.

    part: the network's attribute that does nearly all of the work. The rest stays exact.
    """
    exact = core().read_model(str(source / MODEL_FILE))
    # It asks torch for CUDA's compiler, and torch warns where there is none.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf

    nncf.set_log_level(logging.ERROR)
    # Operations are named by the attribute they were traced in, or by torch's own name outside.
    rest = nncf.IgnoredScope(patterns=[rf"^(aten::|__module\.(?!{part})).*"], validate=False)
    model = nncf.quantize(
        exact,
        nncf.Dataset(batches_BCHW),
        subset_size=len(batches_BCHW),
        ignored_scope=rest,
    )
    _save(model, folder)


def _save(model: Any, folder: Path) -> None:
    _number_names(model)
    with folder_written_beside(folder, holds=MODEL_FILE) as beside:
        openvino().save_model(model, str(beside / MODEL_FILE), compress_to_fp16=False)


def _number_names(model: Any) -> None:
    """OpenVINO names by what a process has made so far: `Add_4711`; here by place in the model, so
    that equal models are equal files."""
    model.set_friendly_name("model")
    for number, operation in enumerate(model.get_ordered_ops()):
        own = re.sub(r"_\d+(?=$|/)", f"_n{number}", operation.get_friendly_name(), count=1)
        operation.set_friendly_name(own)
