"""Read and write what the folder of an embedder contains beside its weights.

These are its description, embedder.json, the images that it did not learn from, held_out.json, and
the runtime that was chosen for it, runtime.json with the exported network in `model/`. Weights are
only copied. Nothing here imports torch, which takes seconds to load.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from atlas.core.errors import DataError, MissingStageError, Stage, UserError
from atlas.core.files import write_json, written_beside
from atlas.core.result_files import check_result, read_json, understood, was_written
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import native_size_px
from atlas.inference import openvino_runner
from atlas.inference.runtimes import problem
from atlas.inference.settings import TORCH_FLOAT32, RuntimeChoice, RuntimeOptions
from retrieval.class_vectors import load_class_vectors, save_class_vectors
from retrieval.preparation import read_preparation
from retrieval.sources import UNTRAINED, FileSource, source_of

EMBEDDER_FILE = "embedder.json"
WEIGHTS_FILE = "weights.safetensors"
HELD_OUT_FILE = "held_out.json"
RUNTIME_FILE = "runtime.json"
MODEL_FOLDER = "model"
FOREIGN = "foreign"  # the kind of an embedder whose network is a file of somebody else


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """List the images that were not used for training.

    Attributes:
        held_out_ids: Images of identities whose other images were used for training.
        unseen_identity_ids: All images of identities that were not used for training at all.
    """

    held_out_ids: tuple[str, ...] = ()
    unseen_identity_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EmbedderRuntime:
    """Describe the runtime that was chosen for an embedder.

    Attributes:
        choice: The runtime and its precision.
        model: Folder of the exported network; None where torch runs it.
        model_hash: Hash of a model that does not follow from the weights alone, else empty.
        checks: The measurements that led to the choice, as JSON can store them.
        made_for: Key of everything beside images that embedder and runtime follow from: the source,
            the options and the versions of packages. Empty if that is not known.
    """

    choice: RuntimeChoice
    model: Path | None = None
    model_hash: str = ""
    checks: tuple[dict[str, Any], ...] = ()
    made_for: str = ""

    def maker(self, fingerprint: str) -> str:
        """Return a key of an embedder with this fingerprint on this runtime.

        Embeddings with equal keys are comparable.
        """
        if self.choice == TORCH_FLOAT32:
            return fingerprint
        return " ".join([fingerprint, str(self.choice), self.model_hash]).strip()


def read_about(folder: Path) -> dict[str, Any]:
    """Return the description of an embedder.

    Returns:
        The kind, settings, channels, image_size_px, provenance and fingerprint.

    Raises:
        MissingStageError: The folder contains no embedder.
        UserError: The description is damaged.
    """
    path = folder / EMBEDDER_FILE
    about = read_json(path, stage=Stage.EMBEDDER)
    with understood(path, Stage.EMBEDDER):
        about["channels"] = tuple(about["channels"])
        about["image_size_px"] = int(about["image_size_px"])
        return dict(about)


def load_held_out(folder: Path) -> tuple[HeldOut, tuple[str, ...]]:
    """Return the images that an embedder was not trained on, and those it was whitened on.

    Raises:
        MissingStageError: The folder contains no embedder.
        UserError: The lists are damaged.
    """
    path = folder / HELD_OUT_FILE
    stored = read_json(path, stage=Stage.EMBEDDER)
    with understood(path, Stage.EMBEDDER):
        lists = {name: tuple(ids) for name, ids in stored.items()}
        whitened_on = lists.pop("whitened_on", ())
        return HeldOut(**lists), whitened_on


def embedded_size_px(source: str, manifest: Manifest, untrained_px: int | None = None) -> int:
    """Return the side of the images that an embedder expects.

    Problems with the embedder are reported here, before any image is decoded.

    Args:
        source: The folder of an embedder, or what `retrieval.sources` lists.
        manifest: The images.
        untrained_px: Image side for an embedder that needs no training. By default it is the most
            common side of the images, up to 512 px.

    Raises:
        MissingStageError: The folder contains no embedder.
        DataError: The embedder was trained on other channels, or the description of how images are
            prepared for it has problems.
        UserError: The embedder is damaged, or `untrained_px` is given for a folder.
    """
    found = source_of(source)
    if isinstance(found, Path):
        return _folder_size_px(found, manifest, untrained_px)
    if isinstance(found, FileSource):
        read_preparation(found.file, manifest.spec.channels)
    return native_size_px(manifest) if untrained_px is None else untrained_px


def _folder_size_px(folder: Path, manifest: Manifest, untrained_px: int | None) -> int:
    if untrained_px is not None:
        raise UserError(
            f"--image-size-px can only be given with --embedder {UNTRAINED}; "
            "the embedder of a folder has its own image size"
        )
    if not folder.exists():
        raise MissingStageError(
            folder, Stage.EMBEDDER, hint="or give --embedder frozen, which needs no training"
        )
    about = read_about(folder)
    require_channels(str(folder), about["channels"], manifest)
    return int(about["image_size_px"])


def require_runtime(source: str, options: RuntimeOptions) -> None:
    """Raise a UserError if an embedder cannot be run as asked for.

    The network of a file runs as it is, which is in torch or ONNX Runtime and in float32.
    """
    found = source_of(source)
    is_file = isinstance(found, FileSource) or (
        isinstance(found, Path) and read_about(found).get("kind") == FOREIGN
    )
    if is_file and (options.runtime == "openvino" or options.precision in ("bfloat16", "int8")):
        raise UserError(
            f"{source} is the network of a file, which runs as it is, in float32; omit --runtime "
            "and --precision"
        )


def require_channels(source: str, channels: tuple[str, ...], manifest: Manifest) -> None:
    """Raise a DataError if an embedder was trained on other channels than the data has."""
    if channels != manifest.spec.channels:
        own, given = ", ".join(channels), ", ".join(manifest.spec.channels)
        raise DataError(
            source,
            [f"trained on channels {own}; the data has {given}; train an embedder on this data"],
        )


def copy_embedder(source: Path, folder: Path, runtime: EmbedderRuntime, *, maker: str) -> None:
    """Write an embedder to another folder, on another runtime, without loading its network.

    Its files are compared with their checksums. The network must not be a file of somebody else.

    Args:
        source: The folder of the embedder.
        folder: The folder to write.
        runtime: The runtime that the copy has.
        maker: The key of the embedder on this runtime.

    Raises:
        MissingStageError: The source contains no embedder.
        DamagedFileError: A file was changed, damaged or removed after it was written.
        UserError: The source contains another embedder by now.
    """
    _copy(source / WEIGHTS_FILE, folder)
    _copy(source / HELD_OUT_FILE, folder)
    if class_vectors := load_class_vectors(source):
        save_class_vectors(folder, class_vectors)
    save_runtime(folder, runtime)
    _copy(source / EMBEDDER_FILE, folder)
    if runtime.maker(read_about(folder)["fingerprint"]) != maker:
        raise UserError(f"{source} was changed during this command; run it again")


def _copy(file: Path, folder: Path) -> None:
    """Copy a file without reading it into memory as a whole."""
    check_result(file, Stage.EMBEDDER)
    with written_beside(folder / file.name) as beside:
        shutil.copyfile(file, beside)


def save_runtime(folder: Path, runtime: EmbedderRuntime) -> None:
    """Write runtime.json and the exported network to the folder of an embedder."""
    if runtime.model is not None:
        shutil.copytree(runtime.model, folder / MODEL_FOLDER, dirs_exist_ok=True)
    about = {
        "model_hash": runtime.model_hash, "checks": runtime.checks, "made_for": runtime.made_for,
    }  # fmt: skip
    write_json(folder / RUNTIME_FILE, {**asdict(runtime.choice), **about})


def load_runtime(folder: Path) -> EmbedderRuntime | None:
    """Return the runtime of an embedder, or None where none was chosen.

    Raises:
        UserError: This machine lacks the runtime, or the exported network was changed.
    """
    if not was_written(folder / RUNTIME_FILE):
        return None
    path, model = folder / RUNTIME_FILE, folder / MODEL_FOLDER
    stored = read_json(path, stage=Stage.INDEX)
    with understood(path, Stage.INDEX):
        choice = RuntimeChoice(runtime=stored["runtime"], precision=stored["precision"])
        runtime = EmbedderRuntime(
            choice=choice,
            model=None if choice.runtime == "torch" else model,
            model_hash=stored["model_hash"],
            checks=tuple(stored["checks"]),
            made_for=str(stored.get("made_for", "")),  # older ones have none
        )
    if wrong := problem(choice):
        raise UserError(
            f"{folder} was built for {choice}: {wrong}; or build the index again:  "
            f"{Stage.INDEX.command}"
        )
    if runtime.model_hash and openvino_runner.model_hash(model) != runtime.model_hash:
        raise UserError(
            f"{model} is not the model it was saved with; build the index again:  "
            f"{Stage.INDEX.command}"
        )
    return runtime
