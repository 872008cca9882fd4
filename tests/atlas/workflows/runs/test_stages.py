"""The key of a run follows images that are files or folders, and the files of an embedder."""

from pathlib import Path

from atlas.workflows.runs.run_file import read_run_file
from atlas.workflows.runs.stages import _atlas_key, _made_from
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


def test_a_changed_network_makes_the_index_stale(tmp_path: Path) -> None:
    network = tmp_path / "theirs.onnx"
    (tmp_path / "run.toml").write_text(
        f'data = "{tmp_path}"\n[embedder]\nrecipe = "onnx:{network}"\n'
        '[classifiers.a]\nrecipe = "smoke"\n'
    )
    keys = []
    for network_bytes, settings in ((b"1", "size_px = 1"), (b"2", "size_px = 1"), (b"2", "")):
        network.write_bytes(network_bytes)
        (tmp_path / "theirs.toml").write_text(settings)
        run = read_run_file(tmp_path / "run.toml")
        keys.append([_made_from(run, stage, "the atlas") for stage in run.stages])
    index, others = zip(*((key[0], key[1:]) for key in keys), strict=True)
    assert index[0] != index[1] != index[2] != index[0]
    assert others[0] == others[1] == others[2]
