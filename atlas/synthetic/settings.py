"""Settings of drawn atlases.

Only the standard library is imported here, so that `--help` is fast.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from atlas.core.errors import refuse


@dataclass(frozen=True, kw_only=True)
class DrawnAtlasSettings:
    """The settings of a drawn atlas.

    An identity is an antibody. Images of the same antibody are siblings.

    Args:
        identities: Number of antibodies in train.
        fields_per_identity: Number of train images of each antibody.
        size_px: Side of an image.
        seed: Seed of the drawing. Equal seeds and settings draw equal pixels.
        test_fields_per_identity: Number of test images of each antibody, known or novel.
        novel_identities: Number of antibodies that occur in test only.
        copies: Number of test images that are edited copies of train images. Every edit occurs
            equally often.
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
            yield (
                "drawn atlas: identities and fields per identity must be at least 1, and size_px "
                "at least 32"
            )
        if min(self.test_fields_per_identity, self.novel_identities, self.copies, self.seed) < 0:
            yield "drawn atlas: numbers and the seed must not be negative"
