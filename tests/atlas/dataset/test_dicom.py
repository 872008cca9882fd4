"""DICOM files: what their headers say, what is refused, and what is never shown."""

import io
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from atlas.dataset.image_headers import Header, read_header
from atlas.dataset.images import ImageProblem, decode, read_field
from atlas.dataset.plain_folder import read_plain_folder
from tests.atlas.dataset.format_matrix import by_pillow_jpeg, colour, dicom_file, gray

NATIVE = uid.ExplicitVRLittleEndian


def written(path: Path, pixels: np.ndarray, syntax: str = NATIVE, **elements: object) -> Path:
    """Write gray or colour pixels; elements replace those that follow from the pixels."""
    rgb = pixels.ndim == 3
    usual = {
        "Rows": pixels.shape[0], "Columns": pixels.shape[1], "SamplesPerPixel": 3 if rgb else 1,
        "PhotometricInterpretation": "RGB" if rgb else "MONOCHROME2",
        "BitsStored": 8 * pixels.itemsize, "PlanarConfiguration": 0 if rgb else None,
    }  # fmt: skip
    path.write_bytes(dicom_file(pixels.tobytes(), syntax, **{**usual, **elements}))
    return path


def compressed(path: Path, frame: bytes, syntax: str, **elements: object) -> Path:
    usual = {
        "Rows": 35, "Columns": 52, "SamplesPerPixel": 1, "BitsStored": 8,
        "PhotometricInterpretation": "MONOCHROME2",
    }  # fmt: skip
    path.write_bytes(dicom_file(frame, syntax, **{**usual, **elements}))
    return path


def refusal(path: Path) -> str:
    """What reading says, which the header alone says, too."""
    with pytest.raises(ImageProblem) as caught:
        decode(path)
    said = str(caught.value).removeprefix(f"{path.name} ")
    assert read_header(path).problem == said
    return said


def test_white_follows_from_the_bits_that_are_stored(tmp_path: Path) -> None:
    counts = gray(12)
    path = written(tmp_path / "x.dcm", counts, BitsStored=12)
    field = read_field((path,), ("protein",))
    np.testing.assert_array_equal(field[0], np.rint(counts * np.float32(255 / 4095)))
    assert read_header(path) == Header(width_px=52, height_px=35, gray=True)


def test_bits_above_those_that_are_stored_are_ignored(tmp_path: Path) -> None:
    counts = gray(12)
    path = written(tmp_path / "x.dcm", counts | 0x5000, BitsStored=12)
    np.testing.assert_array_equal(decode(path), counts)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_signed_and_rescaled_values_need_a_range(tmp_path: Path, syntax: str) -> None:
    units = np.linspace(-1000, 1000, 35 * 52).reshape(35, 52).astype(np.int16)
    signed = written(tmp_path / "a.dcm", units, syntax, PixelRepresentation=1)
    rescaled = written(
        tmp_path / "b.dcm", (units + 1024).astype(np.uint16), syntax, BitsStored=12,
        RescaleSlope="1", RescaleIntercept="-1024",
    )  # fmt: skip
    assert read_header(signed).problem.startswith("has int16 pixels of unknown range; state it")
    assert read_header(rescaled).problem.startswith("has rescaled pixels of unknown range")
    for path in (signed, rescaled):
        with pytest.raises(ImageProblem, match="min_value and max_value"):
            read_field((path,), ("protein",))
        assert read_header(path, min_value=-1000, max_value=1000).problem == ""
        field = read_field((path,), ("protein",), min_value=-1000, max_value=1000)
        np.testing.assert_allclose(field[0], (units + 1000.0) * (255 / 2000), atol=0.51)


def test_a_compressed_signed_image_keeps_its_sign(tmp_path: Path) -> None:
    values = gray(12).astype(np.int16) - 2048
    stored = (values & 0xFFF).astype(np.uint16)
    frame = bytes(imagecodecs.jpegls_encode(stored))
    path = compressed(
        tmp_path / "x.dcm", frame, uid.JPEGLSLossless, BitsStored=12, PixelRepresentation=1
    )
    np.testing.assert_array_equal(decode(path), values)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_are_resolved(tmp_path: Path, syntax: str, bits: int) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (256, 3))
    tables: dict[str, object] = {}
    for n, name in enumerate(("Red", "Green", "Blue")):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        table = colours[:, n].astype(np.uint8) if bits == 8 else colours[:, n].astype("<u2") << 8
        tables[f"{name}PaletteColorLookupTableData"] = table.tobytes()
    path = written(
        tmp_path / "x.dcm", gray(8), syntax, PhotometricInterpretation="PALETTE COLOR", **tables
    )
    np.testing.assert_array_equal(decode(path), colours[gray(8)])


def test_colours_of_brightness_and_difference_become_rgb(tmp_path: Path) -> None:
    stored = np.full((4, 6, 3), (76, 85, 255), np.uint8)  # red in YBR_FULL
    full = written(tmp_path / "a.dcm", stored, PhotometricInterpretation="YBR_FULL")
    half = np.tile(np.array([76, 76, 85, 255], np.uint8), 12)
    (tmp_path / "b.dcm").write_bytes(dicom_file(
        half.tobytes(), NATIVE, Rows=4, Columns=6, SamplesPerPixel=3, BitsStored=8,
        PlanarConfiguration=0, PhotometricInterpretation="YBR_FULL_422",
    ))  # fmt: skip
    for path in (full, tmp_path / "b.dcm"):
        found = decode(path).astype(int)
        assert np.abs(found - (254, 0, 0)).max() <= 1, path


def test_the_header_says_which_colours_a_jpeg_without_a_mark_has(tmp_path: Path) -> None:
    pixels = colour(8)
    frame = bytes(
        imagecodecs.jpeg8_encode(pixels, level=100, colorspace="rgb", outcolorspace="rgb")
    )
    adobe = frame.find(b"\xff\xee")
    plain = frame if adobe < 0 else frame[:adobe] + frame[adobe + 16 :]
    for n in range(3):  # the ids of the components, from which decoders guess, too
        plain = plain.replace(b"RGB"[n : n + 1] + b"\x11", bytes([n + 1]) + b"\x11", 1)
    sos = plain.find(b"\xff\xda")
    ids = plain[:sos] + plain[sos : sos + 5] + b"".join(
        bytes([n + 1]) + plain[sos + 6 + 2 * n : sos + 7 + 2 * n] for n in range(3)
    ) + plain[sos + 11 :]  # fmt: skip
    path = compressed(
        tmp_path / "x.dcm", ids, uid.JPEGBaseline8Bit, SamplesPerPixel=3, PlanarConfiguration=0,
        PhotometricInterpretation="RGB",
    )  # fmt: skip
    assert np.abs(decode(path).astype(int) - pixels).max() <= 2


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"NumberOfFrames": 12}, "has 12 frames; save each frame as a file"),
        ({"Rows": 70}, "has fewer pixels than its header says; copy it again"),
        ({"Rows": 0}, "has no pixels"),
        ({"PhotometricInterpretation": "HSV"}, "has colours of another kind; save it as "
         "MONOCHROME2 or RGB"),
        ({"BitsStored": 6}, "has values of 6 bits; save it with 8 to 16 bits"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "has values of 32 bits; save it with 8 to 16 "
         "bits"),
        ({"BitsAllocated": 16, "HighBit": 15}, "has values that do not begin with the lowest bit; "
         "save it again"),
        ({"PixelRepresentation": 1, "PhotometricInterpretation": "MONOCHROME1"},
         "is MONOCHROME1 with signed or rescaled values; save it as MONOCHROME2"),
        ({"ModalityLUTSequence": [Dataset()]}, "has a modality lookup table, which is not applied; "
         "save it without the table"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "has a palette in segments, or none; save "
         "it as RGB"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused_by_its_header(
    tmp_path: Path, elements: dict[str, object], said: str
) -> None:
    assert refusal(written(tmp_path / "x.dcm", gray(8), **elements)) == said


def test_a_syntax_that_is_not_read_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.dcm", gray(8), uid.DeflatedExplicitVRLittleEndian)
    assert refusal(path).startswith(
        "has the transfer syntax Deflated Explicit VR Little Endian, which is not read; save it as"
    )


def test_a_syntax_of_a_vendor_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.dcm", gray(8))
    known, private = NATIVE.encode() + b"\0", b"1.2.840.113619.5.2\0\0"
    path.write_bytes(path.read_bytes().replace(known, private, 1))
    assert refusal(path).startswith("has the transfer syntax of a vendor, which is not read")


def test_a_file_without_pixels_is_refused(tmp_path: Path) -> None:
    content = dicom_file(gray(8).tobytes(), NATIVE, Rows=35, Columns=52)
    (tmp_path / "x.dcm").write_bytes(content[: content.index(b"\xe0\x7f\x10\x00")])
    assert refusal(tmp_path / "x.dcm") == "is DICOM without pixels of integers"


def test_pixels_that_break_off_are_noticed_by_the_header(tmp_path: Path) -> None:
    path = written(tmp_path / "x.dcm", gray(16))
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path) == "is truncated; copy it again"


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (uid.JPEGBaseline8Bit, by_pillow_jpeg),
        (uid.JPEGLosslessSV1, lambda p: imagecodecs.jpeg8_encode(p, lossless=True)),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
        (uid.JPEG2000, lambda p: imagecodecs.jpeg2k_encode(p, codecformat="j2k", level=0)),
        (uid.HTJ2KLossless, imagecodecs.htj2k_encode),
    ],
    ids=lambda value: value.keyword if isinstance(value, uid.UID) else "",
)
def test_frames_that_are_damaged_or_of_another_size_are_refused(
    tmp_path: Path, syntax: uid.UID, encode: object
) -> None:
    frame = bytes(encode(gray(8)))  # type: ignore[operator]
    larger = bytes(encode(gray(8, 350, 520)))  # type: ignore[operator]
    path = tmp_path / "x.dcm"
    for content in (frame[: len(frame) // 2], larger, b"\0" * 64):
        compressed(path, content, syntax)
        with pytest.raises(ImageProblem, match="is not a readable DICOM, or is damaged"):
            decode(path)
    compressed(path, frame, syntax)
    assert decode(path).shape == (35, 52)


def test_a_file_that_breaks_off_in_a_compressed_frame_is_refused(tmp_path: Path) -> None:
    frame = bytes(imagecodecs.jpegls_encode(gray(8)))
    path = compressed(tmp_path / "x.dcm", frame, uid.JPEGLSLossless)
    path.write_bytes(path.read_bytes()[: -len(frame) // 2])
    with pytest.raises(ImageProblem, match="is damaged"):
        decode(path)


def test_fragments_of_a_frame_are_joined(tmp_path: Path) -> None:
    frame = bytes(imagecodecs.jpegls_encode(gray(8)))
    path = compressed(tmp_path / "x.dcm", frame, uid.JPEGLSLossless)
    content = path.read_bytes()
    joined = encapsulate([frame])
    assert content.endswith(joined + b"\xfe\xff\xdd\xe0" + bytes(4))
    parts = encapsulate([frame], fragments_per_frame=3)
    path.write_bytes(content.replace(joined, parts))
    np.testing.assert_array_equal(decode(path), gray(8))


def test_a_size_above_the_limit_is_refused_before_pixels_are_read(tmp_path: Path) -> None:
    path = compressed(tmp_path / "x.dcm", b"\0" * 64, uid.RLELossless, Rows=60_000, Columns=60_000)
    assert "has 60,000 x 60,000 pixels, more than the 178,956,970" in refusal(path)


def test_patients_are_neither_read_nor_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    from atlas.dataset.dicom import read_dicom

    path = written(tmp_path / "x.dcm", gray(8))
    with path.open("rb") as stream:
        dicom = read_dicom(stream)
    assert "PatientName" not in dicom.elements
    path.write_bytes(path.read_bytes()[:-10])
    said = refusal(path) + caplog.text + "".join(capfd.readouterr())
    assert "secret" not in said.lower()


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    path = written(tmp_path / "x.dcm", gray(8))
    script = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from pathlib import Path; from atlas.dataset.image_headers import read_header\n"
        f"print(read_header(Path({str(path)!r})).problem)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "is DICOM, which needs pydicom: pip install 'atlas-retrieval[dicom]'\n"
    assert done.stderr == ""


def test_a_folder_of_dicom_files_is_a_folder_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "lung").mkdir()
    written(tmp_path / "lung" / "a.dcm", gray(8))
    written(tmp_path / "lung" / "b.DCM", gray(16))
    folder = read_plain_folder(tmp_path)
    assert folder.labels == ("lung",)
    assert len(folder.channels) == 1


def test_a_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    content = written(tmp_path / "x.dcm", gray(8)).read_bytes()
    (tmp_path / "x.png").write_bytes(content)
    np.testing.assert_array_equal(decode(tmp_path / "x.png"), gray(8))
    (tmp_path / "y.dcm").write_bytes(io.BytesIO(content[132:]).getvalue())
    with pytest.raises(ImageProblem, match="WebP, GIF or DICOM"):
        decode(tmp_path / "y.dcm")
