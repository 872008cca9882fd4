"""What a drawn atlas holds. Only the standard library is imported here, so that `--help` is
instant."""

from collections.abc import Iterator
from dataclasses import dataclass

from atlas.core.errors import refuse


@dataclass(frozen=True, kw_only=True)
class DrawnAtlasSettings:
    """A drawn atlas. An identity is an antibody; the fields of one are siblings.

    Args:
        identities: Antibodies in train.
        fields_per_identity: Train images of each antibody.
        size_px: Side of an image.
        seed: Equal seeds and settings draw equal pixels.
        test_fields_per_identity: Test images of each antibody, known and novel.
        novel_identities: Antibodies that occur in test only.
        copies: Test images that are edited copies of train images, every edit equally often.
    """

    identities: int = 1000
    fields_per_identity: int = 6
    size_px: int = 64
    seed: int = 0
    test_fields_per_identity: int = 2
    novel_identities: int = 1000
    copies: int = 200

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if min(self.identities, self.fields_per_identity) < 1 or self.size_px < 32:
            yield "drawn atlas: needs at least one identity and field, and size_px of 32"
        if min(self.test_fields_per_identity, self.novel_identities, self.copies, self.seed) < 0:
            yield "drawn atlas: its numbers and seed cannot be negative"
