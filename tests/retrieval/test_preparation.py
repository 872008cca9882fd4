"""The TOML file beside a network: its keys, its defaults, and the list of all its mistakes."""

from pathlib import Path

import pytest

from atlas.core.errors import DataError, UserError
from retrieval.preparation import Preparation, read_preparation

CHANNELS = ("red", "green", "blue", "yellow")
SOUND = {"size_px": "224", "scale": '"unit"'}


def read(folder: Path, atlas: tuple[str, ...] = CHANNELS, **keys: str) -> Preparation:
    lines = [f"{key} = {value}\n" for key, value in keys.items()]
    (folder / "sscd.torchscript.toml").write_text("".join(lines))
    return read_preparation(folder / "sscd.torchscript.pt", atlas)


def problems_of(folder: Path, **keys: str) -> tuple[str, ...]:
    with pytest.raises(DataError, match=r"sscd\.torchscript\.toml: \d+ problem") as caught:
        read(folder, **keys)
    return caught.value.problems


def test_defaults_are_all_channels_in_order(tmp_path: Path) -> None:
    assert read(tmp_path, **SOUND) == Preparation(
        size_px=224, inputs=CHANNELS, scale="unit", mean=(0.0,) * 4, deviation=(1.0,) * 4,
        output=None, views=8, whiten=True,
    )  # fmt: skip


def test_an_only_channel_is_repeated_for_red_green_and_blue(tmp_path: Path) -> None:
    assert read(tmp_path, ("gray",), **SOUND).inputs == ("gray", "gray", "gray")


def test_every_key_is_read(tmp_path: Path) -> None:
    found = read(
        tmp_path, size_px="448", scale='"min_max"', channels='["yellow", "", "red"]',
        mean="[0, 0.5, 1.5]", deviation="2", output='"pooled"', views="1", whiten="false",
    )  # fmt: skip
    assert found == Preparation(
        size_px=448, inputs=("yellow", "", "red"), scale="min_max", mean=(0.0, 0.5, 1.5),
        deviation=(2.0, 2.0, 2.0), output="pooled", views=1, whiten=False,
    )  # fmt: skip
    assert read(tmp_path, **SOUND, output="2").output == 2


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"size_px": '"big"'}, "size_px must be a whole number from 1 to 4096 (got 'big')"),
        ({"size_px": "0"}, "from 1 to 4096 (got 0)"),
        ({"size_px": "10000"}, "from 1 to 4096 (got 10000)"),
        ({"size_px": "true"}, "from 1 to 4096 (got True)"),
        ({"scale": '"percent"'}, "scale must be one of unit, counts, min_max, standard, in quotes"),
        ({"scale": "1"}, "(got 1)"),
        ({"channels": '"red"'}, "channels must be a list of names in quotes"),
        ({"channels": "[1, 2]"}, "channels must be a list of names in quotes"),
        ({"channels": '["", ""]'}, "channels must name at least one channel"),
        ({"channels": "[]"}, "channels must name at least one channel"),
        (
            {"channels": '["red", "dapi"]'},
            "channels names 'dapi', but the atlas has red, green, blue, yellow",
        ),
        ({"mean": "[1, 2]"}, "mean must have a number for each of the 4 inputs (got 2)"),
        ({"mean": '["1", "2", "3", "4"]'}, "mean must be a number, or a list of a number for each"),
        ({"mean": "true"}, "mean must be a number, or a list of a number for each"),
        ({"mean": "nan"}, "mean must be finite (got nan)"),
        ({"mean": "1" + "0" * 400}, "mean must be finite"),
        ({"deviation": "[1, 1, 0, 1]"}, "deviation must be above 0 (got [1, 1, 0, 1])"),
        ({"deviation": "inf"}, "deviation must be above 0 (got inf)"),
        ({"output": "-1"}, "output must be the name of an output in quotes, or its number"),
        ({"output": '""'}, "output must be the name of an output in quotes, or its number"),
        ({"output": "1.5"}, "(got 1.5)"),
        ({"views": "4"}, "views must be 1 or 8 (got 4)"),
        ({"views": "true"}, "views must be 1 or 8 (got True)"),
        ({"whiten": '"no"'}, "whiten must be true or false (got 'no')"),
        ({"size": "224"}, "key 'size' is unknown; did you mean size_px? known keys are size_px,"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, keys: dict[str, str], said: str) -> None:
    (problem,) = problems_of(tmp_path, **{**SOUND, **keys})
    assert said in problem


def test_several_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, std="1", views="3", channels='["red", "dapi"]')
    assert [problem.split()[0] for problem in problems] == [
        "key", "size_px", "scale", "channels", "views",
    ]  # fmt: skip


def test_a_missing_file_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.toml does not exist; write it .* size_px = 224"):
        read_preparation(tmp_path / "model.onnx", CHANNELS)


def test_what_is_not_toml_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, size_px="224 px")
    assert problem.startswith("not valid TOML: ")
    (tmp_path / "model.toml").mkdir()
    with pytest.raises(DataError, match="the file cannot be read"):
        read_preparation(tmp_path / "model.onnx", CHANNELS)
