"""An embedder that is there already: exported, checked, and whitened if need be.

It is taken over from an earlier index, or from the folder of a trained embedder with its network
from the cache. Making it again would load torch, which takes seconds, and would end in the same
embedder.
"""

from dataclasses import asdict, replace
from pathlib import Path

from atlas.core.checksums import file_checksum
from atlas.core.errors import Stage, UserError
from atlas.core.files import content_hash, json_text
from atlas.core.result_files import check_result
from atlas.dataset.manifest import Manifest
from atlas.dataset.store import ImageStore
from atlas.inference.runtimes import candidates, versions
from atlas.inference.settings import RuntimeOptions
from atlas.training.weight_packages import installed_weights
from atlas.workflows.embed.runtime_cache import RuntimeCache
from index.index_folder import EMBEDDER_FOLDER, load_index
from retrieval.embedder_folder import WEIGHTS_FILE, read_about
from retrieval.embedding import ExportedEmbedder, exported, load_exported
from retrieval.sources import FileSource, PretrainedSource, source_of
from retrieval.whitening_sample import whitening_sample


def made_for(source: str, options: RuntimeOptions, references: Manifest, size_px: int) -> str:
    """Return a key of everything beside images that an embedder and its runtime follow from.

    The key is empty for the network of a file, which is never exported.

    Args:
        source: What `build_index` makes the embedder from.
        options: The wanted runtime and precision.
        references: The labelled images.
        size_px: Their side.
    """
    match source_of(source):
        case Path() as folder:
            network = [read_about(folder)["fingerprint"]]
        case PretrainedSource(network=name, weights=Path() as file):
            network = [name, file_checksum(file)]
        case PretrainedSource(network=name):
            network = [name, installed_weights()]
        case FileSource():  # its network is never exported
            return ""
    packages = [versions(choice) for choice in candidates(options)]
    about = [network, asdict(options), packages, references.spec.channels, size_px]
    return content_hash(json_text(about))


def ready_embedder(
    source: str, key: str, references: Manifest, store: ImageStore, index: Path
) -> ExportedEmbedder | None:
    """Return the embedder of an index, if it is what would be made again.

    Args:
        source: What `build_index` makes the embedder from.
        key: See `made_for`.
        references: The labelled images.
        store: All images.
        index: The folder of the index, which need not exist.
    """
    try:
        found = load_exported(index / EMBEDDER_FOLDER)
        if found is None or not key or found.runtime.made_for != key:
            return None
        if isinstance(source_of(source), PretrainedSource):
            sample, pixels = whitening_sample(references), load_index(index).pixels
            seen = found.whitened_on or tuple(pixels)  # all of them are too few to learn from
            if seen != sample or [pixels[i] for i in sample] != list(store.keys(sample)):
                return None
        _ = found.runner  # which a damaged network does not have
    except UserError:  # there is no index, or something is damaged, and is made anew
        return None
    return found


def cached_embedder(
    source: str, key: str, options: RuntimeOptions, work: Path
) -> ExportedEmbedder | None:
    """Return a trained embedder on the first runtime that passed its check in an earlier run.

    Args:
        source: What `build_index` makes the embedder from.
        key: See `made_for`.
        options: The wanted runtime and precision.
        work: The cache folder of the run.

    Raises:
        DamagedFileError: The weights were changed or damaged after they were written.
    """
    folder = source_of(source)
    if not isinstance(folder, Path):
        return None
    cache = RuntimeCache(work=work, fingerprint=read_about(folder)["fingerprint"])
    checks = []
    for choice in candidates(options):
        if (kept := cache.checked(choice)) is None:
            return None
        runtime, check = kept
        checks.append(check)
        if check["passed"]:
            check_result(folder / WEIGHTS_FILE, Stage.EMBEDDER)  # which are only copied, at the end
            return exported(folder, replace(runtime, checks=tuple(checks), made_for=key))
    return None
