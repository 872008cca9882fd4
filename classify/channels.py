"""Channel recipes: which mixtures of an atlas's stained channels a network sees.

Axes: K channels that it sees, C channels that are stored. A store stays as it is: the network mixes
what it is given, before anything else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from atlas.core.errors import UserError

AS_STORED = "as_stored"

# For each channel that is seen, what it is made of. Any channel of an atlas by its own name is a
# recipe too: that one alone.
CHANNEL_RECIPES: dict[str, tuple[Mapping[str, float], ...]] = {
    "rgby": ({"red": 1.0}, {"green": 1.0}, {"blue": 1.0}, {"yellow": 1.0}),
    "rgb": ({"red": 1.0}, {"green": 1.0}, {"blue": 1.0}),
    # (0, G, 0): the protein alone, where filters of three colours expect green.
    "0_g_0": ({}, {"green": 1.0}, {}),
    # (R/2 + Y/2, G/2 + Y/2, B)
    "r+y_g+y_b": ({"red": 0.5, "yellow": 0.5}, {"green": 0.5, "yellow": 0.5}, {"blue": 1.0}),
    # (B/2 + Y/2, R/2 + Y/2, G), the best of the student comparison.
    "b+y_r+y_g": ({"blue": 0.5, "yellow": 0.5}, {"red": 0.5, "yellow": 0.5}, {"green": 1.0}),
}


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """stored: names of the C channels that come in. weights_KC: of each in each channel seen."""

    stored: tuple[str, ...]
    weights_KC: tuple[tuple[float, ...], ...]

    @property
    def seen(self) -> int:
        """K."""
        return len(self.weights_KC)

    @property
    def changes_nothing(self) -> bool:
        count = len(self.stored)
        return self.weights_KC == tuple(
            tuple(float(k == c) for c in range(count)) for k in range(count)
        )


def mixing_of(recipe: str, stored: tuple[str, ...]) -> Mixing:
    """The recipe for an atlas of these channels. Raises UserError where it cannot be made."""
    planes = _planes(recipe, stored)
    lacking = sorted({name for plane in planes for name in plane} - set(stored))
    if lacking:
        raise UserError(
            f"channel recipe {recipe} needs {', '.join(lacking)}; the atlas has "
            f"{', '.join(stored)}: take {AS_STORED} or one of these names"
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
