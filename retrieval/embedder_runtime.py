"""What an embedder was chosen to run on: runtime.json in its folder, and the exported network in
`model/`. Read without torch, whose loading takes seconds."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from atlas.core.errors import Stage, UserError
from atlas.core.files import read_json, write_json
from atlas.inference import openvino_runner
from atlas.inference.runtimes import problem
from atlas.inference.settings import TORCH_FLOAT32, RuntimeChoice

RUNTIME_FILE = "runtime.json"
MODEL_FOLDER = "model"


@dataclass(frozen=True, kw_only=True)
class EmbedderRuntime:
    """What an embedder was chosen to run on.

    model: folder of the exported network; None where torch runs it. model_hash: of a model that
    does not follow from the weights alone. checks: what was measured on the way to the choice, as
    JSON can say it.
    """

    choice: RuntimeChoice
    model: Path | None = None
    model_hash: str = ""
    checks: tuple[dict[str, Any], ...] = ()

    def maker(self, fingerprint: str) -> str:
        """What makes the embeddings of an embedder with this fingerprint, run so."""
        if self.choice == TORCH_FLOAT32:
            return fingerprint
        return " ".join([fingerprint, str(self.choice), self.model_hash]).strip()


def save_runtime(folder: Path, runtime: EmbedderRuntime) -> None:
    if runtime.model is not None:
        shutil.copytree(runtime.model, folder / MODEL_FOLDER, dirs_exist_ok=True)
    about = {"model_hash": runtime.model_hash, "checks": runtime.checks}
    write_json(folder / RUNTIME_FILE, {**asdict(runtime.choice), **about})


def load_runtime(folder: Path) -> EmbedderRuntime | None:
    """None where none was chosen. Raises UserError where this machine does not have it, or where
    the model is not the one that was saved."""
    if not (folder / RUNTIME_FILE).exists():
        return None
    stored = read_json(folder / RUNTIME_FILE, stage=Stage.INDEX)
    choice = RuntimeChoice(runtime=stored["runtime"], precision=stored["precision"])
    if wrong := problem(choice):
        raise UserError(
            f"{folder} embeds by {choice}: {wrong}, or make vectors of all images anew: "
            f"{Stage.INDEX.command}"
        )
    model = folder / MODEL_FOLDER
    if stored["model_hash"] and openvino_runner.model_hash(model) != stored["model_hash"]:
        raise UserError(f"{model} is not the model it was saved with; run  {Stage.INDEX.command}")
    return EmbedderRuntime(
        choice=choice,
        model=None if choice.runtime == "torch" else model,
        model_hash=stored["model_hash"],
        checks=tuple(stored["checks"]),
    )
