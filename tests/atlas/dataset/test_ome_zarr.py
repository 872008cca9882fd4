"""OME-Zarr images: axes, ranges, missing and damaged chunks, and hostile metadata."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import imagecodecs
import numcodecs
import numpy as np
import pytest
from zarr import codecs

from atlas.dataset.image_headers import Header, check_picture, read_header
from atlas.dataset.images import ImageProblem, decode, read_field
from tests.atlas.dataset.format_matrix import gray
from tests.atlas.dataset.ome_zarr_files import PACKINGS, change, chunks_of, options, write

RGB = ("red", "green", "blue")


def refusal(path: Path, channels: int | None = None) -> str:
    """What reading says, in one line that begins with the name."""
    with pytest.raises(ImageProblem) as caught:
        decode(path, channels)
    assert "\n" not in str(caught.value)
    assert check_picture(path).problem
    return str(caught.value).removeprefix(f"{path.name} ")


def header_refusal(path: Path) -> str:
    """What reading says, which the metadata alone say, too."""
    said = refusal(path)
    assert read_header(path).problem == said
    return said


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("axes", ["tczyx", "czyx", "cyx", "yx", "zyx", "yxc", "xytc"])
def test_axes_may_be_in_any_order(tmp_path: Path, axes: str, version: int) -> None:
    planes = {"c": 4 if "c" in axes else 1, "y": 35, "x": 52}
    pixels_CHW = np.stack([gray(8) + n for n in range(planes["c"])])
    every = pixels_CHW[None, :, None]  # t, c, z, y, x
    order = ["tczyx".index(axis) for axis in axes]
    left_out = tuple(n for n, axis in enumerate("tczyx") if axis not in axes)
    values = np.squeeze(every, left_out).transpose(np.argsort(np.argsort(order)))
    path = write(tmp_path / "x.zarr", values, axes=axes, version=version)
    found = decode(path, 4) if "c" in axes else decode(path)
    expected = np.moveaxis(pixels_CHW, 0, -1) if "c" in axes else pixels_CHW[0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("axes", "shape", "said"),
    [
        ("tyx", (3, 8, 8), "has 3 times; save each time as an image"),
        ("zyx", (5, 8, 8), "has 5 slices; project them, or save each slice as an image"),
        ("ayx", (2, 8, 8), "has 2 planes along 'a'; save one of them"),
        ("cyx", (2, 8, 8), "has 2 channels; name them in atlas.toml, or save each channel as an "
         "image"),
    ],
)  # fmt: skip
def test_what_is_more_than_an_image_is_refused_by_its_metadata(
    tmp_path: Path, axes: str, shape: tuple[int, ...], said: str
) -> None:
    assert header_refusal(write(tmp_path / "x.zarr", np.ones(shape, np.uint8), axes=axes)) == said


def test_channels_are_the_planes_of_an_image(tmp_path: Path) -> None:
    pixels_CHW = np.stack([gray(8), gray(8)[::-1], gray(8)[:, ::-1], 255 - gray(8)])
    path = write(tmp_path / "x.ome.zarr", pixels_CHW)
    np.testing.assert_array_equal(read_field((path,), tuple("abcd"), whole=True), pixels_CHW)
    header = read_header(path, whole=True, channels=4)
    assert header == Header(width_px=52, height_px=35, gray=False)
    wrong = read_header(path, whole=True, channels=5)
    assert wrong.problem == "holds 4 channels, and atlas.toml names 5"
    three = write(tmp_path / "y.ome.zarr", pixels_CHW[:3])
    np.testing.assert_array_equal(read_field((three,), RGB, whole=True), pixels_CHW[:3])
    assert check_picture(three) == header


@pytest.mark.parametrize("version", [2, 3])
def test_counts_of_12_bits_need_max_value(tmp_path: Path, version: int) -> None:
    counts = gray(12)
    path = write(tmp_path / "x.zarr", counts, axes="yx", version=version)
    field = read_field((path,), ("protein",), max_value=4095)
    np.testing.assert_array_equal(field[0], np.rint(counts * np.float32(255 / 4095)))


@pytest.mark.parametrize("kind", ["int16", "uint32", "float16", "float32", "float64"])
@pytest.mark.parametrize("version", [2, 3])
def test_other_numbers_need_a_range(tmp_path: Path, kind: str, version: int) -> None:
    values = np.linspace(0, 1000, 35 * 52).reshape(35, 52).astype(kind)
    path = write(tmp_path / "x.zarr", values, axes="yx", version=version)
    assert read_header(path).problem.startswith(f"has {kind} pixels of unknown range; state it")
    field = read_field((path,), ("protein",), min_value=0, max_value=1000)
    np.testing.assert_allclose(field[0], values.astype(float) * 0.255, atol=0.51)


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", np.full((8, 8), np.nan, np.float32), axes="yx")
    with pytest.raises(ImageProblem, match="pixels that are not numbers"):
        read_field((path,), ("protein",), max_value=1.0)


@pytest.mark.parametrize("version", [2, 3])
def test_a_missing_chunk_is_not_taken_for_black(tmp_path: Path, version: int) -> None:
    path = write(tmp_path / "x.zarr", gray(8), axes="yx", version=version)
    lost = chunks_of(path)[1]
    lost.unlink()
    name = lost.relative_to(path).as_posix()
    assert header_refusal(path).startswith(f"lacks the chunk {name}; copy it again, or, if it")


def test_a_shard_says_which_chunks_are_empty(tmp_path: Path) -> None:
    values = gray(8).copy()
    values[:16, :32] = 7  # a chunk of nothing but the fill value
    path = write(
        tmp_path / "x.zarr", values, axes="yx", version=3, shards=(32, 64), fill_value=7,
        empty_chunks=False,
    )  # fmt: skip
    np.testing.assert_array_equal(decode(path), values)
    chunks_of(path)[0].unlink()
    assert header_refusal(path).startswith("lacks the chunk 0/c/0/0")


PACKED = [(version, name) for version, packings in PACKINGS.items() for name in packings]


@pytest.mark.parametrize(("version", "compression"), PACKED)
def test_a_chunk_that_breaks_off_is_named(tmp_path: Path, version: int, compression: str) -> None:
    packed = options(version, compression, "")
    path = write(tmp_path / "x.zarr", gray(8), axes="yx", version=version, **packed)
    chunk = chunks_of(path)[2]
    whole = chunk.read_bytes()
    said = f"has a damaged chunk {chunk.relative_to(path).as_posix()}; copy it again"
    for content in (whole[: len(whole) // 2], whole[:-1], b"", bytes(len(whole) - 1)):
        chunk.write_bytes(content)
        assert refusal(path) == said


@pytest.mark.parametrize("layout", ["chunks", "shards", "index before shards"])
def test_a_wrong_checksum_is_noticed(tmp_path: Path, layout: str) -> None:
    packed = options(3, "CRC-32C", layout)
    path = write(tmp_path / "x.zarr", gray(8)[None], version=3, **packed)
    chunk = chunks_of(path)[0]
    whole = chunk.read_bytes()
    for at in range(0, len(whole), len(whole) // 40):
        chunk.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert refusal(path).startswith("has a damaged chunk")
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        chunk.write_bytes(whole[:length])
        assert refusal(path).startswith("has a damaged chunk")
    chunk.write_bytes(whole)
    np.testing.assert_array_equal(decode(path), gray(8))


BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "Blosc": numcodecs.Blosc().encode, "ZSTD": imagecodecs.zstd_encode,
    "gzip": imagecodecs.gzip_encode, "zlib": imagecodecs.zlib_encode,
    "LZ4": numcodecs.LZ4().encode,
}  # fmt: skip


@pytest.mark.parametrize("compression", BOMBS)
def test_a_chunk_is_not_unpacked_beyond_its_size(tmp_path: Path, compression: str) -> None:
    packed = options(2, compression, "")
    path = write(tmp_path / "x.zarr", gray(8), axes="yx", **packed)
    chunks_of(path)[0].write_bytes(bytes(BOMBS[compression](bytes(10_000_000))))
    assert refusal(path).startswith("has a damaged chunk")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("shape", "chunk", "said"),
    [
        ([60_000, 60_000], [1000, 1000], "has 60,000 x 60,000 pixels, more than the 178,956,970"),
        ([10**40, 10**40], [10**40, 10**40], "pixels, more than the 178,956,970"),
        ([10_000, 10_000], [1, 1], "has 100,000,000 chunks, more than 100,000; save it with"),
        ([10, 10], [10**6, 10**6], "has chunks of 1,000,000,000,000 values; save it with smaller"),
        ([0, 10], [10, 10], "has no pixels"),
        ([10, -10], [10, 10], "is not a readable OME-Zarr, or is damaged"),
        ([10, 10], [0, 10], "is not a readable OME-Zarr, or is damaged"),
        ([10, 10, 10], [10, 10], "is not a readable OME-Zarr, or is damaged"),
        ([10, 10], "aa", "is not a readable OME-Zarr, or is damaged"),
    ],
)
def test_hostile_sizes_are_refused_before_chunks_are_read(
    tmp_path: Path, version: int, shape: object, chunk: object, said: str
) -> None:
    path = write(tmp_path / "x.zarr", gray(8), axes="yx", version=version)
    if version == 2:
        change(path, "0/.zarray", shape=shape, chunks=chunk)
    else:
        grid = {"name": "regular", "configuration": {"chunk_shape": chunk}}
        change(path, "0/zarr.json", shape=shape, chunk_grid=grid)
    assert said in header_refusal(path)


def test_a_hostile_number_of_channels_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", gray(8)[None])
    change(path, "0/.zarray", shape=[10**6, 10_000, 10_000], chunks=[10**6, 10_000, 10_000])
    assert "more than the 178,956,970" in header_refusal(path)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"dtype": "|O"}, "has values of type '|O', which are not read; save it with integers or "
         "floating-point numbers"),
        ({"dtype": "|b1"}, "has values of type '|b1', which are not read"),
        ({"dtype": [["a", "<u2"]]}, "has values of type"),
        ({"compressor": {"id": "pickle"}}, "is stored with 'pickle', which is not read; save it"),
        ({"filters": [{"id": "pickle"}]}, "is stored with 'pickle', which is not read; save it"),
        ({"filters": [{"id": "zlib"}] * 9}, "is stored with 10 codecs in a row; save"),
        ({"filters": 3}, "is not a readable OME-Zarr, or is damaged"),
        ({"dimension_separator": "/../"}, "is not a readable OME-Zarr, or is damaged"),
        ({"order": None, "chunks": None}, "is not a readable OME-Zarr, or is damaged"),
    ],
)  # fmt: skip
def test_what_is_not_read_of_zarr_2_is_refused_by_its_metadata(
    tmp_path: Path, entries: dict[str, object], said: str
) -> None:
    path = write(tmp_path / "x.zarr", gray(8), axes="yx")
    change(path, "0/.zarray", **entries)
    assert header_refusal(path).startswith(said)


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"data_type": "string"}, "has values of type 'string', which are not read"),
        ({"data_type": {"name": "struct"}}, "has values of type"),
        ({"codecs": [{"name": "vlen-utf8"}]}, "is stored with 'vlen-utf8', which is not read"),
        ({"codecs": [BYTES, {"name": "numcodecs.pickle"}]}, "is stored with 'numcodecs.pickle',"),
        ({"codecs": []}, "is not a readable OME-Zarr, or is damaged"),
        ({"codecs": [{"name": "transpose", "configuration": {"order": [0, 0]}}, BYTES]},
         "is not a readable OME-Zarr, or is damaged"),
        ({"chunk_grid": {"name": "rectilinear"}}, "is not a readable OME-Zarr, or is damaged"),
        ({"storage_transformers": [{"name": "x"}]}, "is not a readable OME-Zarr, or is damaged"),
    ],
)  # fmt: skip
def test_what_is_not_read_of_zarr_3_is_refused_by_its_metadata(
    tmp_path: Path, entries: dict[str, object], said: str
) -> None:
    path = write(tmp_path / "x.zarr", gray(8), axes="yx", version=3)
    change(path, "0/zarr.json", **entries)
    assert header_refusal(path).startswith(said)


@pytest.mark.parametrize("place", ["../b.zarr/0", "https://example.org/b.zarr/0", "/etc", "1", ""])
def test_an_array_outside_the_folder_is_never_opened(tmp_path: Path, place: str) -> None:
    write(tmp_path / "b.zarr", gray(8), axes="yx")
    path = write(tmp_path / "a.zarr", gray(8), axes="yx")
    axes = [{"name": "y"}, {"name": "x"}]
    change(path, ".zattrs", multiscales=[{"axes": axes, "datasets": [{"path": place}]}])
    said = header_refusal(path)
    assert said == f"names the array {place!r}, which it does not hold; copy it again"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "has a damaged file .zattrs; copy it again"),
        ("[" * 100_000, "has a damaged file .zattrs; copy it again"),
        ("[]", "has a file .zattrs that is not an object of JSON"),
        ("{}", "is not an OME-Zarr image: its metadata name no multiscales"),
        ('{"plate": {}}', "is a plate or a well of images; save each image as a folder"),
        ('{"multiscales": []}', "is not a readable OME-Zarr, or is damaged; copy it again"),
        ('{"multiscales": 5}', "is not a readable OME-Zarr, or is damaged; copy it again"),
    ],
)
def test_damaged_metadata_are_one_line(tmp_path: Path, content: str, said: str) -> None:
    path = write(tmp_path / "x.zarr", gray(8), axes="yx")
    (path / ".zattrs").write_text(content)
    assert header_refusal(path) == said


def test_the_only_image_of_bioformats2raw_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    write(path / "0", gray(8), axes="yx")
    (path / ".zattrs").write_text(json.dumps({"bioformats2raw.layout": 3}))
    np.testing.assert_array_equal(decode(path), gray(8))
    write(path / "1", gray(8), axes="yx")
    assert header_refusal(path) == "holds several images; save each image as a folder"


def test_links_and_pipes_in_an_image_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", gray(8), axes="yx")
    (tmp_path / "secret").write_bytes(b"secret")
    chunk = chunks_of(path)[0]
    name = chunk.relative_to(path).as_posix()
    chunk.unlink()
    chunk.symlink_to(tmp_path / "secret")
    assert header_refusal(path) == f"holds the link '{name}'; copy it without links"
    chunk.unlink()
    os.mkfifo(chunk)
    assert header_refusal(path) == f"holds '{name}', which is not a file; remove it"
    chunk.unlink()
    (path / "loop").symlink_to(path)
    assert header_refusal(path) == "holds the link 'loop'; copy it without links"


def test_a_link_to_an_image_is_that_image(tmp_path: Path) -> None:
    write(tmp_path / "x.zarr", gray(8), axes="yx")
    (tmp_path / "link.zarr").symlink_to(tmp_path / "x.zarr")
    np.testing.assert_array_equal(decode(tmp_path / "link.zarr"), gray(8))


def test_a_codec_of_several_steps_is_undone_in_order(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.zarr", gray(16), axes="yx", version=3,
        filters=codecs.TransposeCodec(order=(1, 0)),
        compressors=[codecs.GzipCodec(), codecs.Crc32cCodec()],
    )  # fmt: skip
    np.testing.assert_array_equal(decode(path), gray(16))


def test_what_is_no_zarr_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    assert header_refusal(tmp_path / "x.zarr").startswith("is not an OME-Zarr image")
    (tmp_path / "y.zarr").write_bytes(b"text")
    assert header_refusal(tmp_path / "y.zarr").startswith("is not a readable PNG, JPEG")
    (tmp_path / "z").mkdir()
    assert header_refusal(tmp_path / "z") == "is a folder"


BOMBS_IN_SHARDS = {
    "Blosc": BOMBS["Blosc"], "ZSTD": BOMBS["ZSTD"], "gzip": BOMBS["gzip"], "cut": lambda _: b"",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS_IN_SHARDS)
@pytest.mark.parametrize("at_end", [True, False])
def test_a_chunk_in_a_shard_is_neither_empty_nor_unpacked_beyond_its_size(
    tmp_path: Path, name: str, at_end: bool
) -> None:
    packed = options(3, name if name in PACKINGS[3] else "ZSTD", "")
    shards = {"shape": (48, 64), "index_location": "end" if at_end else "start"}
    path = write(tmp_path / "x.zarr", gray(8), axes="yx", version=3, shards=shards, **packed)
    bomb = bytes(BOMBS_IN_SHARDS[name](bytes(10_000_000)))
    entry = np.array([0 if at_end else 6 * 16 + 4, len(bomb)], "<u8")
    index = np.tile(entry, 6).tobytes()
    index += google_crc32c.value(index).to_bytes(4, "little")
    chunks_of(path)[0].write_bytes(bomb + index if at_end else index + bomb)
    assert refusal(path).startswith("has a damaged chunk")


def test_a_second_stream_in_a_chunk_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", gray(8), axes="yx", **options(2, "gzip", ""))
    chunk = chunks_of(path)[0]
    chunk.write_bytes(chunk.read_bytes() + bytes(imagecodecs.gzip_encode(bytes(10_000_000))))
    assert refusal(path).startswith("has a damaged chunk")


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", gray(8), axes="yx")
    script = (
        "import sys; sys.modules['zarr'] = None\n"
        "from pathlib import Path; from atlas.dataset.image_headers import read_header\n"
        f"print(read_header(Path({str(path)!r})).problem)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "is OME-Zarr, which needs zarr: pip install 'atlas-retrieval[zarr]'\n"
    assert done.stderr == ""


def test_processes_that_read_images_end(tmp_path: Path) -> None:
    """The library zarr keeps a thread, which must not keep a process alive."""
    write(tmp_path / "x.zarr", gray(8), axes="yx")
    script = (
        "import multiprocessing, sys\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from pathlib import Path\n"
        "from atlas.dataset.images import decode\n"
        "if __name__ == '__main__':\n"
        "    decode(Path(sys.argv[1]))\n"
        "    context = multiprocessing.get_context(sys.argv[2])\n"
        "    with ProcessPoolExecutor(2, mp_context=context) as pool:\n"
        "        found = pool.map(decode, [Path(sys.argv[1])] * 4)\n"
        "        print(sum(int(pixels.sum()) for pixels in found))\n"
    )
    (tmp_path / "read.py").write_text(script)
    for method in ("forkserver", "spawn"):
        done = subprocess.run(
            [sys.executable, tmp_path / "read.py", tmp_path / "x.zarr", method],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == (f"{4 * int(gray(8).sum())}\n", "")
