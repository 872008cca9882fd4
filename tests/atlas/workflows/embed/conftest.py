from pathlib import Path

import pytest

from atlas.workflows.embed.index import build_index
from tests.atlas.workflows.embed.exported import FLOAT32
from tests.atlas.workflows.evaluate.evaluated import save_random_embedder, write_evaluated_atlas


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas, an embedder, and an index by OpenVINO in float32."""
    folder = tmp_path_factory.mktemp("exported")
    write_evaluated_atlas(folder / "data")
    save_random_embedder(folder / "embedder")
    build_index(folder / "data", folder / "embedder", folder / "run" / "index", runtime=FLOAT32)
    return folder
