"""An embedder: a network with all that its embeddings follow from."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from atlas.files import content_hash, json_text
from engine.weights import weights_hash
from retrieval.network import EmbeddingNetwork
from retrieval.settings import EmbedderSettings, FrozenSettings


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
    """

    network: EmbeddingNetwork
    settings: EmbedderSettings | FrozenSettings
    channels: tuple[str, ...]
    image_size_px: int
    provenance: dict[str, Any]
    held_out: HeldOut = field(default_factory=HeldOut)

    @property
    def started_from(self) -> str:
        return str(self.provenance["started_from"])

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights and of the settings: embeddings of equal fingerprints may be compared."""
        about = json_text([asdict(self.settings), self.channels, self.image_size_px])
        return content_hash(weights_hash(self.network), about)
