"""The key of the images of a run follows images that are folders as it follows files."""

from pathlib import Path

from atlas.workflows.runs.stages import _atlas_key
from tests.atlas.dataset.format_matrix import gray
from tests.atlas.dataset.ome_zarr_files import chunks_of, write


def test_a_changed_chunk_makes_a_run_stale(tmp_path: Path) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    path = write(data / "train" / "a.ome.zarr", gray(8), axes="yx", compressors=None)
    (data / "atlas.toml").write_text(
        'name = "x"\nchannels = ["a"]\nfile_pattern = "{id}.ome.zarr"\nlabels = ["x"]\n'
    )
    (data / "train.csv").write_text("Id,Target\na,0\n")
    first = _atlas_key(data, work)
    assert _atlas_key(data, work) == first
    chunks_of(path)[0].write_bytes(chunks_of(path)[1].read_bytes())
    assert _atlas_key(data, work) != first
