"""Define channel recipes: which mixtures of an atlas's stained channels a network sees.

The stored images do not change. The network mixes their channels as its first step.

Axes: K channels that the network sees, C channels that are stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from atlas.core.errors import UserError

AS_STORED = "as_stored"

# The weights of the stored channels in each channel that the network sees. The name of any channel
# of an atlas is a recipe too, which shows that channel only.
CHANNEL_RECIPES: dict[str, tuple[Mapping[str, float], ...]] = {
    "rgby": ({"red": 1.0}, {"green": 1.0}, {"blue": 1.0}, {"yellow": 1.0}),
    "rgb": ({"red": 1.0}, {"green": 1.0}, {"blue": 1.0}),
    # (0, G, 0): only the protein, at the position of green in pretrained filters.
    "0_g_0": ({}, {"green": 1.0}, {}),
    # (R/2 + Y/2, G/2 + Y/2, B)
    "r+y_g+y_b": ({"red": 0.5, "yellow": 0.5}, {"green": 0.5, "yellow": 0.5}, {"blue": 1.0}),
    # (B/2 + Y/2, R/2 + Y/2, G), the best recipe of the student comparison.
    "b+y_r+y_g": ({"blue": 0.5, "yellow": 0.5}, {"red": 0.5, "yellow": 0.5}, {"green": 1.0}),
}


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Store how the channels that a network sees are mixed from stored channels.

    Attributes:
        stored: Names of the C stored channels.
        weights_KC: Weight of each stored channel in each channel that the network sees.
    """

    stored: tuple[str, ...]
    weights_KC: tuple[tuple[float, ...], ...]

    @property
    def seen(self) -> int:
        """Return K, the number of channels that the network sees."""
        return len(self.weights_KC)

    @property
    def changes_nothing(self) -> bool:
        """Return whether the network sees the stored channels as they are."""
        count = len(self.stored)
        return self.weights_KC == tuple(
            tuple(float(k == c) for c in range(count)) for k in range(count)
        )


def mixing_of(recipe: str, stored: tuple[str, ...]) -> Mixing:
    """Return the mixing of a recipe for an atlas with these channels.

    Raises:
        UserError: The recipe is unknown or needs a channel that the atlas lacks.

    Example:
        >>> mixing_of("0_g_0", ("green", "blue")).weights_KC
        ((0.0, 0.0), (1.0, 0.0), (0.0, 0.0))
    """
    planes = _planes(recipe, stored)
    lacking = sorted({name for plane in planes for name in plane} - set(stored))
    if lacking:
        raise UserError(
            f"channel recipe {recipe} needs {', '.join(lacking)}; the atlas has "
            f"{', '.join(stored)}; choose {AS_STORED} or one of these names"
        )
    weights_KC = tuple(tuple(plane.get(name, 0.0) for name in stored) for plane in planes)
    return Mixing(stored=stored, weights_KC=weights_KC)


def _planes(recipe: str, stored: tuple[str, ...]) -> tuple[Mapping[str, float], ...]:
    if recipe == AS_STORED:
        return tuple({name: 1.0} for name in stored)
    if recipe in CHANNEL_RECIPES:
        return CHANNEL_RECIPES[recipe]
    if recipe in stored:
        return ({recipe: 1.0},)
    known = ", ".join([AS_STORED, *CHANNEL_RECIPES, *stored])
    raise UserError(f"channel recipe {recipe} is not one of {known}")
