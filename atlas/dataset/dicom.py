"""DICOM files: what the header says, and the pixels of a single frame as gray or colour.

Only the elements that describe the pixels are read, so names and dates of patients are never in
memory as such. The extra `dicom` installs pydicom, which reads the elements.

Axes: H rows, W columns, S samples of a pixel.
"""

import io
import warnings
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.pixels.utils import expand_ybr422
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)

from atlas.dataset.decoders import Facts
from atlas.dataset.dicom_frames import COMPRESSIONS, JPEG_2000, Frame, decode_frame

Pixels = NDArray[np.generic]

DATA_SET = 132  # the offset of the first element
META_GROUP, PIXEL_DATA, UNDEFINED = 0x0002, 0x7FE00010, 0xFFFFFFFF
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
INVERTED = "MONOCHROME1"
PALETTE, HALF_COLOURS = "PALETTE COLOR", "YBR_FULL_422"
SAMPLES = {
    INVERTED: 1, "MONOCHROME2": 1, PALETTE: 1, "RGB": 3, "YBR_FULL": 3, HALF_COLOURS: 3,
    "YBR_ICT": 3, "YBR_RCT": 3,
}  # fmt: skip
PALETTES = tuple(
    f"{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for part in ("Descriptor", "Data")
)
KEYWORDS = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleIntercept",
    "RescaleSlope", "ModalityLUTSequence", *PALETTES,
)  # fmt: skip
TAGS: list[BaseTag | int] = [
    tag for keyword in KEYWORDS if (tag := tag_for_keyword(keyword)) is not None
]

# What pydicom warns of is either an error here or has no effect on the pixels.
warnings.filterwarnings("ignore", module=r"pydicom\.")


@dataclass(frozen=True, kw_only=True)
class Dicom:
    """The header of a DICOM file.

    Attributes:
        frame: How the values of the frame are stored.
        colours: The photometric interpretation.
        frames: The number of frames.
        rescale: The slope and the intercept that turn values into a unit.
        start: The offset of the pixel data, or 0 if there are none.
        length: The length of the pixel data as the header states it.
        size: The length of the file.
        elements: The elements that describe the pixels.
    """

    frame: Frame
    colours: str
    frames: int
    rescale: tuple[float, float]
    start: int
    length: int
    size: int
    elements: Dataset = field(repr=False)

    @property
    def encapsulated(self) -> bool:
        """Whether the pixel data are a sequence of compressed frames."""
        return self.frame.syntax not in NATIVE

    @property
    def native_bytes(self) -> int:
        """The length of a frame that is not compressed."""
        samples = 2 if self.colours == HALF_COLOURS else self.frame.samples
        return self.frame.height * self.frame.width * samples * self.frame.allocated // 8


def read_dicom(stream: BinaryIO) -> Dicom:
    """Return the header of a DICOM file. The pixel data are not read.

    Raises:
        Exception: The header is damaged. Its class depends on the library.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(DATA_SET)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _, __: tag >> 16 != META_GROUP)
    syntax = UID(meta.TransferSyntaxUID)
    place = [0, 0]

    def at_pixels(tag: BaseTag, _: str | None, length: int) -> bool:
        if tag == PIXEL_DATA:
            place[:] = stream.tell(), length
        return int(tag) >= PIXEL_DATA

    elements = Dataset()
    if syntax in NATIVE or syntax in COMPRESSIONS:  # others may compress the elements, too
        implicit = syntax == ImplicitVRLittleEndian
        elements = read_dataset(stream, implicit, True, stop_when=at_pixels, specific_tags=TAGS)
    return _dicom(elements, syntax, start=place[0], length=place[1], size=size)


def dicom_facts(dicom: Dicom) -> Facts:
    """Return what the header of a DICOM file says."""
    frame = dicom.frame
    palette = dicom.colours == PALETTE
    return Facts(
        width_px=frame.width,
        height_px=frame.height,
        planes=3 if palette else frame.samples,
        bits=8 if palette else frame.bits,
        unbounded=_unbounded(dicom),
        gray=dicom.colours in (INVERTED, "MONOCHROME2"),
        problem=_problem(dicom),
    )


def decode_dicom(dicom: Dicom, data: bytes) -> Pixels:
    """Return the pixels of a DICOM file: H x W, or H x W x 3 (R, G, B).

    MONOCHROME1 is inverted, palettes are resolved, and a rescale slope and intercept are applied.
    The window of a viewer is not, because it may differ from image to image.

    Args:
        dicom: The header, of which `dicom_facts` reports no problem.
        data: The bytes of the file.

    Raises:
        Exception: The file is damaged. Its class depends on the library.
    """
    values_HWS = _values(dicom, data)
    if dicom.colours == PALETTE:
        return _coloured(values_HWS[:, :, 0], dicom.elements)
    if dicom.frame.samples == 3:
        return values_HWS
    values = np.asarray(values_HWS[:, :, 0])
    if dicom.colours == INVERTED:
        return np.asarray(np.subtract(2**dicom.frame.bits - 1, values, dtype=values.dtype))
    if dicom.rescale != (1, 0):
        slope, intercept = dicom.rescale
        return np.asarray(np.multiply(values, slope) + intercept, dtype=np.float32)
    return values


def _dicom(elements: Dataset, syntax: UID, *, start: int, length: int, size: int) -> Dicom:
    def number(keyword: str, default: float = 0) -> float:
        value = elements.get(keyword)
        return default if value is None else float(value)

    allocated = int(number("BitsAllocated"))
    bits = int(number("BitsStored", allocated))
    frame = Frame(
        syntax=syntax,
        width=int(number("Columns")),
        height=int(number("Rows")),
        samples=int(number("SamplesPerPixel", 1)),
        allocated=allocated,
        bits=bits,
        lowest_bit=int(number("HighBit", bits - 1)) + 1 - bits,
        signed=bool(number("PixelRepresentation")),
        planar=bool(number("PlanarConfiguration")),
        rgb=elements.get("PhotometricInterpretation") == "RGB",
    )
    return Dicom(
        frame=frame,
        colours=str(elements.get("PhotometricInterpretation", "")),
        frames=int(number("NumberOfFrames", 1)),
        rescale=(number("RescaleSlope", 1), number("RescaleIntercept")),
        start=start,
        length=length,
        size=size,
        elements=elements,
    )


def _unbounded(dicom: Dicom) -> str:
    if dicom.colours == PALETTE:
        return ""
    if dicom.rescale != (1, 0):
        return "rescaled"
    return f"int{dicom.frame.bits}" if dicom.frame.signed else ""


def _problem(dicom: Dicom) -> str:
    return (
        _why_other_syntax(dicom.frame)
        or _why_other_pixels(dicom)
        or _why_other_bits(dicom)
        or _why_incomplete(dicom)
    )


def _why_other_syntax(frame: Frame) -> str:
    syntax = frame.syntax
    extended = syntax == JPEGExtended12Bit and frame.bits > 8
    if not extended and (syntax in NATIVE or syntax in COMPRESSIONS):
        return ""
    # The texts of a file are not shown, only names of the standard.
    name = syntax.name if syntax.type == "Transfer Syntax" else "of a vendor"
    return (
        f"has the transfer syntax {name}, which is not read; save it as Explicit VR Little Endian"
    )


def _why_other_pixels(dicom: Dicom) -> str:
    if not dicom.start:
        return "is DICOM without pixels of integers"
    if dicom.frames > 1:
        return f"has {dicom.frames} frames; save each frame as a file"
    if SAMPLES.get(dicom.colours) != dicom.frame.samples:
        return "has colours of another kind; save it as MONOCHROME2 or RGB"
    if dicom.colours in ("YBR_ICT", "YBR_RCT") and dicom.frame.syntax not in JPEG_2000:
        return "has colours of JPEG 2000 without its compression; save it as RGB"
    if dicom.colours == PALETTE and any(name not in dicom.elements for name in PALETTES):
        return "has a palette in segments, or none; save it as RGB"
    if "ModalityLUTSequence" in dicom.elements:
        return "has a modality lookup table, which is not applied; save it without the table"
    return ""


def _why_other_bits(dicom: Dicom) -> str:
    frame = dicom.frame
    most = 8 if dicom.colours.startswith("YBR") else 16
    if frame.allocated not in (8, 16) or not 8 <= frame.bits <= min(most, frame.allocated):
        return f"has values of {frame.bits} bits; save it with 8 to {most} bits"
    if frame.lowest_bit:
        return "has values that do not begin with the lowest bit; save it again"
    if dicom.colours == INVERTED and _unbounded(dicom):
        return "is MONOCHROME1 with signed or rescaled values; save it as MONOCHROME2"
    if frame.samples == 3 and _unbounded(dicom):
        return "has colours that are signed or rescaled; save it as RGB without them"
    return ""


def _why_incomplete(dicom: Dicom) -> str:
    if dicom.encapsulated:
        return "" if dicom.length == UNDEFINED else "has compressed pixels without frames"
    if dicom.length < dicom.native_bytes:
        return "has fewer pixels than its header says; copy it again"
    return "is truncated; copy it again" if dicom.start + dicom.native_bytes > dicom.size else ""


def _values(dicom: Dicom, data: bytes) -> Pixels:
    """Return the values as gray, indexes of a palette, or R, G and B, H x W x S."""
    frame = dicom.frame
    if dicom.encapsulated:
        stored = next(generate_frames(data[dicom.start :], number_of_frames=1))
    else:
        stored = data[dicom.start : dicom.start + dicom.native_bytes]
        if dicom.colours == HALF_COLOURS:
            stored = bytes(expand_ybr422(stored, frame.allocated))
    values = decode_frame(frame, stored)
    jpeg = frame.syntax in (JPEGBaseline8Bit, JPEGExtended12Bit)  # its decoder returns RGB
    if dicom.colours in ("YBR_FULL", HALF_COLOURS) and not jpeg:
        return np.asarray(convert_color_space(values, "YBR_FULL", "RGB"))
    return values


def _coloured(indexes: Pixels, elements: Dataset) -> Pixels:
    colours = apply_color_lut(np.asarray(indexes), elements)
    # Colours have 16 bits, or 8 bits in a table for 16.
    eight = colours >> 8 if colours.max(initial=0) > 255 else colours
    return np.asarray(eight, dtype=np.uint8)
