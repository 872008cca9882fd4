"""The Python code in the README runs as it stands, in a folder with an atlas and an index."""

import re
from pathlib import Path

import pytest

from atlas.workflows.embed.embedder import train_embedder
from atlas.workflows.embed.index import build_index
from tests.atlas.workflows.classify.made_folds import settings, write_textures
from tests.conftest import PROJECT

BLOCKS = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data, runs = write_textures(tmp_path / "data"), tmp_path / "runs"
    train_embedder(data, runs / "embedder", settings())
    build_index(data, str(runs / "embedder"), runs / "index", runtime=None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_every_block_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert BLOCKS
    assert len(lines) == 20
    assert lines[0].startswith("00 (0,) ")
