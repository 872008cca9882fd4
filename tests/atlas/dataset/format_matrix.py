"""Every kind of image file that is read, how a test writes it, and what it must be read as.

`python -m tests.atlas.dataset.format_matrix` prints the table of docs/formats.md.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import imagecodecs
import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder

from tests.atlas.dataset import ome_zarr_files

Pixels = NDArray[np.generic]
Writer = Callable[["Case"], tuple[bytes, Pixels]]
FolderWriter = Callable[["Case", Path], Pixels]
HEADER = ("format", "depth", "compression", "layout")


@dataclass(frozen=True, kw_only=True)
class Case:
    format: str
    depth: str
    compression: str
    layout: str

    @property
    def bits(self) -> int:
        return int(self.depth.split()[0])


@dataclass(frozen=True, kw_only=True)
class Rows:
    """All combinations of these depths, compressions and layouts, which one function writes."""

    format: str
    depths: tuple[str, ...]
    compressions: tuple[str, ...]
    layouts: tuple[str, ...]
    write: Writer | FolderWriter

    def cases(self) -> Iterator[Case]:
        for depth, compression, layout in product(self.depths, self.compressions, self.layouts):
            yield Case(format=self.format, depth=depth, compression=compression, layout=layout)


def gray(bits: int, height: int = 35, width: int = 52) -> Pixels:
    """A wave and noise over the whole range."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(bits).random((height, width))
    values = (np.sin(x / 6) + np.cos(y / 5) + 2 + noise) / 5
    return np.rint(values * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def colour(bits: int) -> Pixels:
    plane = gray(bits)
    return np.dstack([plane, plane[::-1], plane[:, ::-1]])


def tiff(case: Case) -> tuple[bytes, Pixels]:
    """By tifffile, from which the expected pixels come."""
    rgb = "RGB" in case.layout
    pixels = colour(case.bits) if rgb else gray(case.bits)
    extra = {"extrasamples": ["unassalpha"]} if case.layout == "RGB with alpha" else {}
    written = np.dstack([pixels, pixels[:, :, 0]]) if extra else pixels
    if case.layout == "RGB in planes":
        written = np.moveaxis(pixels, -1, 0)
    if case.layout == "WhiteIsZero":
        written = 2**case.bits - 1 - pixels
    name, *predictor = case.compression.split(" with ")
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        written,
        photometric="rgb" if rgb else "miniswhite" if "White" in case.layout else "minisblack",
        planarconfig="separate" if "planes" in case.layout else "contig" if rgb else None,
        compression=COMPRESSIONS[name],
        predictor=True if predictor else None,
        tile=(16, 32) if "tiles" in case.layout else None,
        rowsperstrip=None if "tiles" in case.layout else 8,
        byteorder=">" if case.layout == "big-endian" else "<",
        bigtiff=case.layout == "BigTIFF",
        **extra,
    )
    return file.getvalue(), pixels


COMPRESSIONS = {
    "none": None, "LZW": "lzw", "deflate": "zlib", "PackBits": "packbits", "ZSTD": "zstd",
    "LZMA": "lzma", "JPEG": "jpeg", "JPEG XL": "jpegxl", "JPEG 2000": "jpeg2000", "WebP": "webp",
    "LERC": "lerc",
}  # fmt: skip


def tiff_of_images(case: Case) -> tuple[bytes, Pixels]:
    """Compressions that may lose detail: what tifffile reads is expected."""
    content, _ = tiff(case)
    return content, tifffile.imread(io.BytesIO(content))


def packed_tiff(case: Case) -> tuple[bytes, Pixels]:
    """Counts whose bits follow one another without gaps."""
    pixels = gray(case.bits)
    white = 2**case.bits - 1
    stored = white - pixels if case.layout == "WhiteIsZero" else pixels
    shifts = np.arange(case.bits)[::-1]
    bits_HB = ((stored[:, :, None].astype(np.uint32) >> shifts) & 1).reshape(len(stored), -1)
    strips = [np.packbits(bits_HB[y : y + 8], axis=1).tobytes() for y in range(0, len(stored), 8)]
    content = tiff_of_strips(
        [ENCODE[case.compression](strip) for strip in strips],
        shape=stored.shape, bits=case.bits, compression=CODES[case.compression],
        photometric=0 if case.layout == "WhiteIsZero" else 1,
    )  # fmt: skip
    # Up to 8 bits, every viewer shows the range of 8 bits.
    return content, np.rint(pixels * (255 / white)).astype(np.uint8) if case.bits < 8 else pixels


ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes, "LZW": imagecodecs.lzw_encode, "deflate": zlib.compress,
    "PackBits": imagecodecs.packbits_encode,
}  # fmt: skip
CODES = {"none": 1, "LZW": 5, "deflate": 8, "PackBits": 32773}


def tiff_of_strips(
    strips: list[bytes],
    *,
    shape: tuple[int, ...],
    bits: int,
    compression: int,
    photometric: int,
    tags: dict[int, int] | None = None,
) -> bytes:
    """A TIFF with one sample for each pixel and strips of 8 rows, written byte by byte."""
    count, end = len(strips), 8 + sum(map(len, strips))
    starts = [8 + sum(map(len, strips[:n])) for n in range(count)]
    values = {
        256: shape[1], 257: shape[0], 258: bits, 259: compression, 262: photometric, 273: end,
        277: 1, 278: 8, 279: end + 4 * count, **(tags or {}),
    }  # fmt: skip
    if count == 1:
        values[273], values[279] = starts[0], len(strips[0])
    lists = struct.pack(f"<{2 * count}I", *starts, *map(len, strips))
    entries = b"".join(
        struct.pack("<HHII", tag, 4, count if tag in (273, 279) else 1, value)
        for tag, value in sorted(values.items())
    )
    directory = struct.pack("<H", len(values)) + entries + bytes(4)
    return struct.pack("<4sI", b"II*\0", end + len(lists)) + b"".join(strips) + lists + directory


def float_tiff(case: Case) -> tuple[bytes, Pixels]:
    content, _ = tiff(Case(format="TIFF", depth="16 bits", compression="none", layout=case.layout))
    pixels = tifffile.imread(io.BytesIO(content)).astype(np.float32) / 65535
    name, *predictor = case.compression.split(" with ")
    file = io.BytesIO()
    tifffile.imwrite(
        file, pixels, compression=COMPRESSIONS[name], predictor=3 if predictor else None,
        byteorder=">" if case.layout == "big-endian" else "<",
        tile=(16, 32) if "tiles" in case.layout else None,
        extratags=[(340, 11, 1, 0.0, True), (341, 11, 1, 1.0, True)],
    )  # fmt: skip
    return file.getvalue(), pixels


def by_pillow(case: Case) -> tuple[bytes, Pixels]:
    """Written and read by Pillow."""
    image = pillow_image(case)
    options = {
        "group 4": {"compression": "group4"}, "LZW": {"compression": "tiff_lzw"},
        "progressive": {"progressive": True}, "lossless": {"lossless": True},
    }  # fmt: skip
    exif = Image.Exif()
    if "rotated" in case.layout:
        exif[0x0112] = 6
    more = {"subsampling": 0 if "4:4:4" in case.layout else 2} if case.format == "JPEG" else {}
    rotated = {"exif": exif} if "rotated" in case.layout else {}
    file = io.BytesIO()
    image.save(file, case.format, **options.get(case.compression, {}), **more, **rotated)
    with Image.open(file) as again:
        shown = ImageOps.exif_transpose(again) or again
        kept = {"1": "L", "LA": "L", "I;16": "I;16", "L": "L"}
        return file.getvalue(), np.asarray(shown.convert(kept.get(shown.mode, "RGB")))


def pillow_image(case: Case) -> Image.Image:
    image = Image.fromarray(colour(8))
    if "gray" in case.layout:
        plane = gray(16 if case.bits == 16 else 8)
        image = Image.fromarray(plane)
    if case.bits == 1:
        return image.convert("L").point(lambda value: 255 * (value > 127)).convert("1")
    if "palette" in case.layout:
        return image.convert("RGB").quantize(2 ** min(case.bits, 6))
    modes = {"CMYK": "CMYK", "RGB with alpha": "RGBA", "gray with alpha": "LA"}
    return image.convert(modes[case.layout]) if case.layout in modes else image


def png(case: Case) -> tuple[bytes, Pixels]:
    """A PNG of 1 to 16 bits, written chunk by chunk; Pillow or the drawn pixels are expected."""
    rgb = "RGB" in case.layout
    pixels = colour(case.bits) if rgb else gray(case.bits)
    planes = [pixels[:, :, n] for n in range(3)] if rgb else [pixels]
    if "alpha" in case.layout:
        planes.append(planes[0][::-1])
    stored = np.dstack(planes)
    interlaced = "interlaced" in case.layout
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(png_rows(stored[y::dy, x::dx], case.bits) for y, x, dy, dx in passes)
    kind = (2 if rgb else 0) + (4 if "alpha" in case.layout else 0)
    header = struct.pack(
        ">IIBBBBB", pixels.shape[1], pixels.shape[0], case.bits, kind, 0, 0, int(interlaced)
    )
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )
    white = 2**case.bits - 1
    return content, np.rint(pixels * (255 / white)).astype(np.uint8) if case.bits < 8 else pixels


DICOM_SYNTAXES = {
    "none": uid.ExplicitVRLittleEndian, "none, implicit": uid.ImplicitVRLittleEndian,
    "RLE": uid.RLELossless, "JPEG": uid.JPEGBaseline8Bit, "JPEG lossless": uid.JPEGLosslessSV1,
    "JPEG-LS": uid.JPEGLSLossless, "JPEG 2000": uid.JPEG2000Lossless, "HTJ2K": uid.HTJ2KLossless,
}  # fmt: skip


def dicom(case: Case) -> tuple[bytes, Pixels]:
    """A file by pydicom; the drawn pixels are expected, or what simplejpeg reads."""
    rgb = "RGB" in case.layout
    pixels = colour(case.bits) if rgb else gray(case.bits)
    white = 2**case.bits - 1
    stored = white - pixels if case.layout == "MONOCHROME1" else pixels
    if "planes" in case.layout:
        stored = np.moveaxis(stored, -1, 0)
    frame = dicom_frame(case, stored)
    if case.compression == "JPEG":
        pixels = simplejpeg.decode_jpeg(frame, "RGB" if rgb else "GRAY")
        pixels = pixels if rgb else pixels[:, :, 0]
        pixels = 255 - pixels if case.layout == "MONOCHROME1" else pixels
    elements = {
        "Rows": pixels.shape[0], "Columns": pixels.shape[1], "BitsStored": case.bits,
        "SamplesPerPixel": 3 if rgb else 1,
        "PhotometricInterpretation": case.layout.split()[0],
        "PlanarConfiguration": int("planes" in case.layout) if rgb else None,
    }  # fmt: skip
    if rgb and case.compression in ("JPEG", "JPEG 2000"):
        jpeg = case.compression == "JPEG"
        elements["PhotometricInterpretation"] = "YBR_FULL_422" if jpeg else "YBR_RCT"
    return dicom_file(frame, DICOM_SYNTAXES[case.compression], **elements), pixels


def dicom_frame(case: Case, stored: Pixels) -> bytes:
    name = case.compression.split(",")[0]
    if name == "none":
        return stored.tobytes()
    if name == "RLE":
        return by_pydicom_rle(stored, case.bits)
    if name == "JPEG":
        return by_pillow_jpeg(stored)
    if name == "JPEG lossless":
        return bytes(
            imagecodecs.jpeg8_encode(stored, lossless=True, bitspersample=case.bits, predictor=1)
        )
    if name == "JPEG 2000":
        return bytes(imagecodecs.jpeg2k_encode(
            stored, codecformat="j2k", reversible=True, level=0, bitspersample=case.bits,
            mct=stored.ndim == 3,
        ))  # fmt: skip
    return bytes(
        {"JPEG-LS": imagecodecs.jpegls_encode, "HTJ2K": imagecodecs.htj2k_encode}[name](stored)
    )


def by_pydicom_rle(stored: Pixels, bits: int) -> bytes:
    options = {
        "rows": stored.shape[0], "columns": stored.shape[1], "bits_stored": bits,
        "samples_per_pixel": stored.shape[2] if stored.ndim == 3 else 1, "number_of_frames": 1,
        "bits_allocated": 8 * stored.itemsize, "pixel_representation": 0, "planar_configuration": 0,
        "photometric_interpretation": "RGB" if stored.ndim == 3 else "MONOCHROME2",
    }  # fmt: skip
    return get_encoder(uid.RLELossless).encode(stored, encoding_plugin="pydicom", **options)


def by_pillow_jpeg(stored: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "JPEG", quality=90)
    return file.getvalue()


def dicom_file(pixels: bytes, syntax: str, **elements: object) -> bytes:
    """A DICOM file of one image, with a patient. An element that is None is left out."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = uid.SecondaryCaptureImageStorage, "1.2.3"
    image.PatientName, image.PatientID = "Secret^Name", "secret-id"
    image.HighBit = int(str(elements.get("BitsStored", 8))) - 1
    image.BitsAllocated = 8 if image.HighBit < 8 else 16
    image.PixelRepresentation = 0
    for name, value in elements.items():
        if value is not None:
            setattr(image, name, value)
    compressed = uid.UID(syntax).is_encapsulated
    image.PixelData = encapsulate([pixels]) if compressed else pixels + b"\0" * (len(pixels) % 2)
    image["PixelData"].VR = "OB" if compressed or image.BitsAllocated == 8 else "OW"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = uid.UID(syntax)
    file = io.BytesIO()
    image.save_as(file, enforce_file_format=True)
    return file.getvalue()


def ome_zarr(case: Case, folder: Path) -> Pixels:
    """An image by zarr; the drawn pixels are expected: H x W, or H x W x C."""
    planes = [gray(min(case.bits, 16)) + n for n in range(4 if case.layout == "channels" else 1)]
    pixels_CHW = np.stack(planes)
    if case.bits == 32:
        pixels_CHW = (pixels_CHW / 65535).astype(np.float32)
    version = 2 if case.format.endswith("0.4") else 3
    options = ome_zarr_files.options(version, case.compression, case.layout)
    ome_zarr_files.write(folder, pixels_CHW, version=version, **options)
    return pixels_CHW[0] if len(planes) == 1 else np.moveaxis(pixels_CHW, 0, -1)


# First row, first column, and steps of the seven passes of an interlaced PNG.
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
         (1, 0, 2, 1))  # fmt: skip


def png_rows(pixels_HWS: Pixels, bits: int) -> bytes:
    if bits == 16:
        packed = pixels_HWS.astype(">u2").reshape(len(pixels_HWS), -1).view(np.uint8)
    else:
        shifts = np.arange(bits)[::-1]
        ones = (pixels_HWS[..., None] >> shifts) & 1
        packed = np.packbits(ones.reshape(len(pixels_HWS), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in packed)


BYTES = ("none", "LZW", "deflate", "PackBits", "ZSTD", "LZMA")
TABLE = (
    Rows(format="PNG", depths=("1 bit", "2 bits", "4 bits"), compressions=("deflate",),
         layouts=("gray", "gray interlaced"), write=png),
    Rows(format="PNG", depths=("8 bits", "16 bits"), compressions=("deflate",),
         layouts=("gray", "gray with alpha", "RGB", "RGB with alpha", "gray interlaced",
                  "RGB interlaced"), write=png),
    Rows(format="PNG", depths=("2 bits", "4 bits", "8 bits"), compressions=("deflate",),
         layouts=("palette",), write=by_pillow),
    Rows(format="JPEG", depths=("8 bits",), compressions=("baseline", "progressive"),
         layouts=("gray", "colour 4:4:4", "colour 4:2:0", "CMYK", "rotated by EXIF"),
         write=by_pillow),
    Rows(format="TIFF", depths=("8 bits", "16 bits"),
         compressions=(*BYTES, "LZW with predictor", "deflate with predictor"),
         layouts=("gray in strips", "gray in tiles", "RGB", "RGB in planes", "RGB in tiles",
                  "RGB with alpha", "WhiteIsZero", "big-endian", "BigTIFF"), write=tiff),
    Rows(format="TIFF", depths=("1 bit", "2 bits", "4 bits", "10 bits", "12 bits", "14 bits"),
         compressions=("none", "LZW", "deflate", "PackBits"),
         layouts=("gray, packed", "WhiteIsZero"), write=packed_tiff),
    Rows(format="TIFF", depths=("32 bits, floating-point",),
         compressions=("none", "LZW", "deflate", "ZSTD", "deflate with predictor"),
         layouts=("gray in strips", "gray in tiles", "big-endian"), write=float_tiff),
    Rows(format="TIFF", depths=("8 bits",), compressions=("JPEG", "JPEG XL", "JPEG 2000", "WebP"),
         layouts=("RGB", "RGB in tiles"), write=tiff_of_images),
    Rows(format="TIFF", depths=("8 bits", "16 bits"), compressions=("JPEG XL", "LERC"),
         layouts=("gray in strips", "gray in tiles"), write=tiff_of_images),
    Rows(format="TIFF", depths=("1 bit",), compressions=("group 4",), layouts=("gray",),
         write=by_pillow),
    Rows(format="TIFF", depths=("8 bits",), compressions=("none", "LZW"),
         layouts=("palette", "CMYK", "rotated by its tag"), write=by_pillow),
    Rows(format="BMP", depths=("8 bits",), compressions=("none",),
         layouts=("gray", "RGB", "palette"), write=by_pillow),
    Rows(format="WebP", depths=("8 bits",), compressions=("lossy", "lossless"),
         layouts=("RGB", "RGB with alpha", "rotated by EXIF"), write=by_pillow),
    Rows(format="GIF", depths=("8 bits",), compressions=("LZW",), layouts=("palette", "gray"),
         write=by_pillow),
    Rows(format="DICOM", depths=("8 bits", "10 bits", "12 bits", "16 bits"),
         compressions=("none", "none, implicit", "RLE", "JPEG lossless", "JPEG-LS", "JPEG 2000",
                       "HTJ2K"),
         layouts=("MONOCHROME2", "MONOCHROME1"), write=dicom),
    Rows(format="DICOM", depths=("8 bits",),
         compressions=("none", "none, implicit", "RLE", "JPEG", "JPEG lossless", "JPEG-LS",
                       "JPEG 2000"),
         layouts=("RGB",), write=dicom),
    Rows(format="DICOM", depths=("8 bits",), compressions=("JPEG",),
         layouts=("MONOCHROME2", "MONOCHROME1"), write=dicom),
    Rows(format="DICOM", depths=("8 bits", "16 bits"), compressions=("none",),
         layouts=("RGB in planes",), write=dicom),
)  # fmt: skip

# The same for images that are folders.
FOLDERS = (
    Rows(format="OME-Zarr 0.4", depths=("8 bits", "16 bits"),
         compressions=("none", "Blosc", "ZSTD", "gzip", "zlib", "LZ4"),
         layouts=("one channel", "channels", "Fortran order", "chunks in one folder"),
         write=ome_zarr),
    Rows(format="OME-Zarr 0.5", depths=("8 bits", "16 bits"),
         compressions=("none", "Blosc", "ZSTD", "gzip", "CRC-32C", "ZSTD with CRC-32C"),
         layouts=("one channel", "channels", "transposed", "shards", "index before shards"),
         write=ome_zarr),
    Rows(format="OME-Zarr 0.4", depths=("16 bits", "32 bits, floating-point"),
         compressions=("none", "Blosc"), layouts=("big-endian",), write=ome_zarr),
    Rows(format="OME-Zarr 0.5", depths=("16 bits", "32 bits, floating-point"),
         compressions=("none", "Blosc"), layouts=("big-endian", "shards"), write=ome_zarr),
)  # fmt: skip


def table_lines() -> list[str]:
    """The rows of the table in Markdown."""
    cells = [HEADER, ("---",) * len(HEADER)] + [
        (row.format, *("; ".join(part) for part in (row.depths, row.compressions, row.layouts)))
        for row in (*TABLE, *FOLDERS)
    ]
    return [f"| {' | '.join(row)} |" for row in cells]


if __name__ == "__main__":
    print("\n".join(table_lines()))
