"""The embedder of an index as its queries need it: by its exported network alone, without torch."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from atlas.inference.openvino_runner import OpenVinoRunner
from atlas.inference.runner import Runner
from atlas.inference.settings import RuntimeChoice
from retrieval.embedder_runtime import load_runtime
from retrieval.embedder_source import damaged, read_about
from retrieval.embedding import Embeds


@dataclass(frozen=True, kw_only=True)
class ExportedEmbedder:
    """As `Embeds` has it. model: folder of the exported network."""

    maker: str
    started_from: str
    choice: RuntimeChoice
    model: Path

    @cached_property
    def runner(self) -> Runner:
        return OpenVinoRunner(self.model, self.choice.precision)


def load_for_queries(folder: Path) -> Embeds:
    """As `load_embedder`, and equal to it in what it gives; by torch only where torch runs it.

    Raises MissingStageError where there is none, UserError where it is damaged, or where this
    machine does not have the runtime that its index was made with.
    """
    about, runtime = read_about(folder), load_runtime(folder)
    if runtime is None or runtime.model is None:
        from retrieval.embedder_files import load_embedder

        return load_embedder(folder)
    try:
        return ExportedEmbedder(
            maker=runtime.maker(about["fingerprint"]),
            started_from=about["provenance"]["started_from"],
            choice=runtime.choice,
            model=runtime.model,
        )
    except (KeyError, TypeError) as error:
        raise damaged(folder) from error
