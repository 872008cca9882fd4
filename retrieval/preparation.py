"""Read how images are prepared for a network that somebody else made.

The answer is a small TOML file beside the network: `sscd.torchscript.toml` for
`sscd.torchscript.pt`. Nothing here imports torch, which takes seconds to load.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from atlas.core.errors import DataError, UserError
from atlas.core.text_files import parsed_toml, unknown_key

Scale = Literal["unit", "counts", "min_max", "standard"]
KEYS = ("size_px", "channels", "scale", "mean", "deviation", "output", "views", "whiten")
EXAMPLE = 'size_px = 224  and  scale = "unit"'
RGB = 3
MOST_PX = 4096


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How images are prepared for a network in a file, and what becomes of its output.

    Args:
        size_px: Side of the network's images in pixels.
        inputs: Channel of the atlas for each input; an input with the name "" is black.
        scale: What gray levels become: unit divides them by 255, counts keeps them, min_max scales
            each channel of each image to 0..1 by its own minimum and maximum, and standard scales
            it to mean 0 and standard deviation 1.
        mean: What is subtracted afterwards, for each input.
        deviation: What the rest is divided by, for each input.
        output: Name or number of the output that is the embedding; None if there is only one.
        views: Number of views of each image: 1, or 8 for the mean over all flips and rotations.
        whiten: Whether the embedding is whitened on the images of the atlas.
    """

    size_px: int
    inputs: tuple[str, ...]
    scale: Scale
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    output: int | str | None = None
    views: Literal[1, 8] = 8
    whiten: bool = True


def read_preparation(network_file: Path, channels: tuple[str, ...]) -> Preparation:
    """Read the TOML file beside the file of a network.

    Args:
        network_file: The file of the network.
        channels: Names of the channels of the atlas.

    Raises:
        UserError: There is no such file; the error says what to write.
        DataError: The file has problems; all of them are listed.
    """
    path = network_file.with_suffix(".toml")
    try:
        table = parsed_toml(path.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; write it to say how images are prepared for "
            f"{network_file.name}, with lines such as  {EXAMPLE}"
        ) from None
    except OSError as error:
        raise DataError(str(path), [f"the file cannot be read ({error.strerror})"]) from error
    except ValueError as error:
        raise DataError(str(path), [f"not valid TOML: {error}"]) from error
    if problems := list(_problems(table, channels)):
        raise DataError(str(path), problems)
    inputs = _inputs(table, channels)
    return Preparation(
        size_px=table["size_px"],
        inputs=inputs,
        scale=table["scale"],
        mean=_for_each(table.get("mean", 0.0), inputs),
        deviation=_for_each(table.get("deviation", 1.0), inputs),
        output=table.get("output"),
        views=table.get("views", 8),
        whiten=table.get("whiten", True),
    )


def _inputs(table: Mapping[str, Any], channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the channel for each input; without the key, the inputs are all channels in order.

    Most networks have three inputs, so an only channel is repeated three times.
    """
    return tuple(table.get("channels", channels * RGB if len(channels) == 1 else channels))


def _for_each(value: float | list[float], inputs: tuple[str, ...]) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value] * len(inputs)
    return tuple(map(float, values))


def _problems(table: Mapping[str, Any], channels: tuple[str, ...]) -> Iterator[str]:
    for key in sorted(table.keys() - {*KEYS}):
        yield unknown_key(key, KEYS)
    yield from _size_problems(table.get("size_px"))
    if table.get("scale") not in get_args(Scale):
        yield f"scale must be one of {', '.join(get_args(Scale))}, in quotes{_got(table, 'scale')}"
    wrong_channels = list(_channel_problems(table.get("channels", list(channels)), channels))
    yield from wrong_channels
    for key in ("mean", "deviation"):
        count = None if wrong_channels else len(_inputs(table, channels))
        yield from _number_problems(key, table.get(key, 1), count)
    if not _is_output(table.get("output", 0)):
        got = _got(table, "output")
        yield f"output must be the name of an output in quotes, or its number from 0 on{got}"
    if type(table.get("views", 8)) is not int or table.get("views", 8) not in (1, 8):
        yield f"views must be 1 or 8{_got(table, 'views')}"
    if not isinstance(table.get("whiten", True), bool):
        yield f"whiten must be true or false{_got(table, 'whiten')}"


def _is_output(output: object) -> bool:
    is_number = isinstance(output, int) and not isinstance(output, bool) and output >= 0
    return is_number or (isinstance(output, str) and output != "")


def _got(table: Mapping[str, Any], key: str) -> str:
    return f" (got {table[key]!r})" if key in table else ""


def _size_problems(size: object) -> Iterator[str]:
    if size is None:
        yield "size_px is missing; give the side of the network's images in pixels"
    elif type(size) is not int or not 1 <= size <= MOST_PX:
        yield f"size_px must be a whole number from 1 to {MOST_PX} (got {size!r})"


def _channel_problems(names: object, channels: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        yield 'channels must be a list of names in quotes, with "" for an input that stays black'
        return
    if not any(names):
        yield "channels must name at least one channel of the atlas"
    for name in dict.fromkeys(names):
        if name and name not in channels:
            yield f"channels names {name!r}, but the atlas has {', '.join(channels)}"


def _number_problems(key: str, value: Any, inputs: int | None) -> Iterator[str]:
    """Yield what is wrong with one number for all inputs, or one for each.

    Args:
        key: The key of the value.
        value: The value.
        inputs: The number of inputs; None if it is not known.
    """
    values = value if isinstance(value, list) else [value]
    least = 0.0 if key == "deviation" else -math.inf
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        yield f"{key} must be a number, or a list of a number for each input (got {value!r})"
    elif not all(least < v <= sys.float_info.max for v in values):
        yield f"{key} must be {'above 0' if key == 'deviation' else 'finite'} (got {value!r})"
    elif isinstance(value, list) and inputs is not None and len(values) != inputs:
        yield f"{key} must have a number for each of the {inputs} inputs (got {len(values)})"
