"""The cache of the runtimes of an embedder: its exported networks and the checks of them.

Nothing here imports torch, so an embedder whose export was checked before is used without it.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.core.files import content_hash, json_text
from atlas.core.row_file import DamagedFileError
from atlas.core.sealed_json import read_sealed_json
from atlas.inference.openvino_runner import is_whole, model_hash
from atlas.inference.runtimes import versions
from atlas.inference.settings import RuntimeChoice
from retrieval.embedder_folder import EmbedderRuntime


@dataclass(frozen=True, kw_only=True)
class RuntimeCache:
    """Name the places where the runtimes of one embedder are kept.

    Attributes:
        work: The cache folder of a run.
        fingerprint: The fingerprint of the embedder.
    """

    work: Path
    fingerprint: str

    def model(self, choice: RuntimeChoice) -> Path:
        """Return the folder of the network that is exported for a choice of OpenVINO."""
        return self._folder(choice) / ("model-int8" if choice.precision == "int8" else "model")

    def check_file(self, runtime: EmbedderRuntime) -> Path:
        """Return the file of the measurements that a runtime was checked by."""
        name = content_hash(runtime.maker(self.fingerprint))
        return self._folder(runtime.choice) / f"check-{name}.json"

    def checked(self, choice: RuntimeChoice) -> tuple[EmbedderRuntime, dict[str, Any]] | None:
        """Return a runtime of OpenVINO and its check, or None if either of them is not kept."""
        model = self.model(choice)
        if choice.runtime == "torch" or not is_whole(model):
            return None
        runtime = EmbedderRuntime(choice=choice, model=model, model_hash=own_hash(model, choice))
        with suppress(FileNotFoundError, DamagedFileError):
            return runtime, read_sealed_json(self.check_file(runtime))
        return None

    def _folder(self, choice: RuntimeChoice) -> Path:
        """Return the folder for this embedder and these versions of libraries."""
        key = content_hash(self.fingerprint, json_text(versions(choice)))
        return self.work / "runtimes" / key


def own_hash(model: Path, choice: RuntimeChoice) -> str:
    """Return the hash of a network in 8 bits; any other one follows from the weights alone."""
    return model_hash(model) if choice.precision == "int8" else ""
