"""What many tests need: the research data beside the project, and tiny atlases written to disk."""

import logging
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings

from atlas.cli.console import PACKAGES

# A busy machine is slow, which is no fault of the code; and a run must be repeatable.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")

PROJECT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Lets commands that tests start be interrupted, also where the tests ignore Ctrl-C themselves.

    A shell starts what runs in the background with SIGINT ignored, which children inherit. They do
    not inherit a handler. `preexec_fn` would do the same for one child, but it forks, and libraries
    with threads (gRPC) then write into the output of that child.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first, so that no process begins a long one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what is marked `gpu` where torch finds none."""
    if item.get_closest_marker("gpu"):
        import torch  # which takes seconds, and few tests need it

        if not torch.cuda.is_available():
            pytest.skip("there is no GPU here")


@pytest.fixture(autouse=True)
def logging_as_at_the_start() -> None:
    """Each test begins with logging as a process begins, whatever commands or libraries changed."""
    logging.disable(logging.NOTSET)
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    root.filters.clear()
    for handler in root.handlers:  # those of pytest, which it uses for all tests
        handler.setLevel(logging.NOTSET)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.split(".")[0] in PACKAGES:
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)
    for name in PACKAGES:
        logging.getLogger(name).handlers.clear()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The research data beside the project; tests that use it are marked `real`."""
    folder = PROJECT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("research data is not beside the project")
    return folder


@pytest.fixture
def write_atlas(tmp_path: Path) -> Callable[..., Path]:
    """`write_tiny_atlas` into a folder of this test: `write_atlas(train={"a": "0"}, ...)`."""

    def write(folder: str = "data", **settings: object) -> Path:
        return write_tiny_atlas(tmp_path / folder, **settings)  # type: ignore[arg-type]

    return write


def write_tiny_atlas(
    data: Path,
    *,
    train: dict[str, str] | None = None,
    external: dict[str, str] | None = None,
    test: Sequence[str] = (),
    identities: dict[str, str] | None = None,
    channels: Sequence[str] = ("gray",),
    labels: Sequence[str] = ("zero", "one", "two"),
    size: tuple[int, int] = (16, 16),
    seed: int = 0,
) -> Path:
    """An atlas folder of PNGs, noise that is different in every image; gives its path.

    train, external: id -> Target. identities: id -> Identity; writes the column where given.
    size: height and width in pixels.
    """
    train = {"a": "0", "b": "1 2", "c": "2"} if train is None else train
    data.mkdir(parents=True, exist_ok=True)
    names, label_names = (", ".join(f'"{n}"' for n in values) for values in (channels, labels))
    pattern = "{id}.png" if len(channels) == 1 else "{id}_{channel}.png"
    (data / "atlas.toml").write_text(
        f'name = "tiny"\nchannels = [{names}]\nfile_pattern = "{pattern}"\n'
        f"labels = [{label_names}]\n"
    )
    _write_table(data / "train.csv", train, identities)
    if external is not None:
        _write_table(data / "external.csv", external, identities)
    if test:
        (data / "sample_submission.csv").write_text(
            "Id,Predicted\n" + "".join(f"{image_id},0\n" for image_id in test)
        )
    rng = np.random.default_rng(seed)
    for split, ids in (("train", train), ("external", external or {}), ("test", test)):
        for image_id in ids:
            write_field(
                data / split,
                image_id,
                rng.integers(0, 256, (len(channels), *size), dtype=np.uint8),
                channels,
            )
    return data


def write_field(
    folder: Path, image_id: str, field: np.ndarray, channels: Sequence[str]
) -> list[Path]:
    """One PNG for each channel of a C x H x W field; `{id}.png` where there is one channel."""
    folder.mkdir(parents=True, exist_ok=True)
    several = len(channels) > 1
    paths = [
        folder / (f"{image_id}_{channel}.png" if several else f"{image_id}.png")
        for channel in channels
    ]
    for path, plane in zip(paths, field, strict=True):
        assert cv2.imwrite(str(path), plane)
    return paths


def _write_table(path: Path, rows: dict[str, str], identities: dict[str, str] | None) -> None:
    if identities is None:
        lines = ["Id,Target", *(f"{i},{target}" for i, target in rows.items())]
    else:
        lines = [
            "Id,Target,Identity",
            *(f"{i},{target},{identities.get(i, '')}" for i, target in rows.items()),
        ]
    path.write_text("\n".join(lines) + "\n")
