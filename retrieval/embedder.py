"""An embedder: a network with all that its embeddings follow from."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch

from atlas.core.files import content_hash, json_text
from atlas.inference.runner import Runner
from atlas.inference.runtimes import open_runner
from atlas.inference.settings import TORCH_FLOAT32, RuntimeChoice
from atlas.training.weights import weights_hash
from retrieval.embedder_runtime import EmbedderRuntime
from retrieval.network import EmbeddingNetwork
from retrieval.settings import EmbedderSettings, FrozenSettings

# Views of images that pass the network together: more are no faster on a CPU, and a single query
# pays for all of them. A GPU would be idle with so few.
INPUTS_AT_ONCE = 8
INPUTS_AT_ONCE_ON_A_GPU = 64


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What training did not see.

    held_out_ids: fields of identities whose other fields trained.
    unseen_identity_ids: all fields of identities that trained nothing.
    """

    held_out_ids: tuple[str, ...] = ()
    unseen_identity_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Embedder:
    """channels: what its input's axis C means. image_size_px: side of the images it was made for.

    provenance: how it came to be, as JSON can say it; `started_from` is always there.
    runtime: None for torch in float32, which nobody had to choose.
    """

    network: EmbeddingNetwork
    settings: EmbedderSettings | FrozenSettings
    channels: tuple[str, ...]
    image_size_px: int
    provenance: dict[str, Any]
    held_out: HeldOut = field(default_factory=HeldOut)
    runtime: EmbedderRuntime | None = None

    @property
    def started_from(self) -> str:
        return str(self.provenance["started_from"])

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights and of the settings."""
        about = json_text([asdict(self.settings), self.channels, self.image_size_px])
        return content_hash(weights_hash(self.network), about)

    @property
    def choice(self) -> RuntimeChoice:
        return self.runtime.choice if self.runtime else TORCH_FLOAT32

    @property
    def images_at_once(self) -> int:
        on_gpu = self.choice.runtime == "torch" and torch.cuda.is_available()
        return (INPUTS_AT_ONCE_ON_A_GPU if on_gpu else INPUTS_AT_ONCE) // self.settings.views

    @cached_property
    def maker(self) -> str:
        """What makes its embeddings: those of equal makers may be compared."""
        return self.fingerprint if self.runtime is None else self.runtime.maker(self.fingerprint)

    @cached_property
    def runner(self) -> Runner:
        """Raises UserError where this machine cannot run it as it was chosen to."""
        model = self.runtime.model if self.runtime else None
        return open_runner(self.network, self.choice, batch_size=self.images_at_once, model=model)
