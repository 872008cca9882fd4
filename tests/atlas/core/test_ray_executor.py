"""Rows of a Ray cluster equal those of one process, also when workers are lost."""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("ray", reason="Ray is not installed; pip install 'atlas-retrieval[ray]'")

from ray.cluster_utils import Cluster

from atlas.core.errors import DataError, UserError
from atlas.core.execution import ExecutionSettings, executing
from atlas.core.ray_executor import RayExecutor
from atlas.core.ray_worker import Surroundings, versions
from atlas.core.row_cache import RowCache, fill_rows
from atlas.core.row_work import RowMaker

IDS = tuple(f"{n}" for n in range(100))
# Ray closes its own files and sockets late.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@dataclass(frozen=True, kw_only=True)
class Squares(RowMaker):
    """The square of each id, and the process that computed it.

    Attributes:
        lost_at: An id at which the process is killed, as long as `mark` does not exist.
        mark: A file that the killed process leaves.
        broken: Ids that cannot be computed.
    """

    lost_at: str = ""
    mark: Path = Path()
    broken: tuple[str, ...] = ()

    def __call__(self, ids: Sequence[str]) -> NDArray[Any]:
        if self.lost_at in ids and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if wrong := [f"{i} is broken" for i in ids if i in self.broken]:
            raise DataError("data", wrong)
        return np.array([[float(i) ** 2, os.getpid()] for i in ids])

    def only(self, ids: Sequence[str]) -> "Squares":
        return replace(self, broken=tuple(i for i in self.broken if i in ids))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes with one core each."""
    small = {"num_cpus": 1, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    cluster.add_node(**small)
    yield cluster.address
    cluster.shutdown()


def fill(folder: Path, maker: RowMaker) -> RowCache:
    return fill_rows(folder, IDS, maker, provenance={}, description="squaring")


def test_workers_compute_the_rows_and_a_lost_one_costs_its_part_alone(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ExecutionSettings(executor="ray", ray_address=address)
    wrong = Squares(broken=("3", "80"))
    lost = Squares(lost_at="3", mark=tmp_path / "mark")
    before = signal.getsignal(signal.SIGTERM)
    with executing(settings, shared=tmp_path, inputs=tmp_path):
        assert signal.getsignal(signal.SIGTERM) == before
        with pytest.raises(DataError) as refused:
            fill(tmp_path / "rows", wrong)
        assert set(refused.value.problems) == {"3 is broken", "80 is broken"}
        kept = sum(1 for _ in (tmp_path / "rows").glob("part-*.h5"))
        assert kept  # of parts without a broken id
        rows = fill(tmp_path / "rows", lost).read(IDS)
    assert lost.mark.exists()
    assert "a Ray worker was lost" in caplog.text
    np.testing.assert_array_equal(rows[:, 0], np.arange(100.0) ** 2)
    assert os.getpid() not in rows[:, 1]
    assert len(set(rows[:, 1])) >= 2
    np.testing.assert_array_equal(fill(tmp_path / "rows", Squares()).read(IDS), rows)
    assert not list(tmp_path.glob(".cluster-*"))


def test_an_address_without_a_cluster_is_one_line(tmp_path: Path) -> None:
    where = {"cpus": None, "shared": tmp_path, "inputs": tmp_path}
    with (
        pytest.raises(UserError, match=r"--ray-address 127.0.0.1:1 cannot be reached within 10 s"),
        RayExecutor(address="127.0.0.1:1", **where),
    ):
        pass


def test_a_worker_refuses_folders_and_versions_that_are_not_those_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("right")
    same = Surroundings(
        folder=tmp_path, token_file=tmp_path / "token", token="right", inputs=tmp_path,
        versions=versions(),
    )  # fmt: skip
    same.require()
    with pytest.raises(UserError, match=f"does not see the folder {tmp_path}; put --out on"):
        replace(same, token="of another disk").require()
    with pytest.raises(UserError, match=r"does not see .*elsewhere; put --data on"):
        replace(same, inputs=tmp_path / "elsewhere").require()
    with pytest.raises(UserError, match=r"numpy \S+ instead of 1.0"):
        replace(same, versions={**versions(), "numpy": "1.0"}).require()
