"""Files that claim to be images: bombs, headers without pixels, pipes, links and folders."""

import os
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

SIDE_PX = 64


def _png(width: int, height: int, packed: bytes, *, depth: int = 8, colour: int = 0) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    end = chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


def _bomb(side: int) -> Callable[[Path], None]:
    """Return a function that writes a black PNG of this side, which compresses a thousandfold."""

    def write(file: Path) -> None:
        packer, rows = zlib.compressobj(9), []
        for _ in range(side):
            rows.append(packer.compress(bytes(1 + side)))
        file.write_bytes(_png(side, side, b"".join(rows) + packer.flush()))

    return write


def _bytes(content: bytes) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        file.write_bytes(content)

    return write


def _tiff(width: int, height: int) -> bytes:
    """Return a TIFF that says it has so many pixels and holds none."""
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1),
               (273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, 16)]  # fmt: skip
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return (
        b"II*\0"
        + struct.pack("<I", 24)
        + bytes(16)
        + struct.pack("<H", len(entries))
        + body
        + bytes(4)
    )


def _loop_tiff() -> bytes:
    """Return a TIFF whose directory is followed by itself."""
    return _tiff(SIDE_PX, SIDE_PX)[:-4] + struct.pack("<I", 24)


IMAGE_FILES: Mapping[str, Callable[[Path], None]] = {
    "empty file": _bytes(b""),
    "text": _bytes(b"no picture"),
    "bomb of 9,000 px": _bomb(9000),
    "bomb of 30,000 px": _bomb(30000),
    "header of 2 billion px": _bytes(_png(2**31 - 1, 2**31 - 1, zlib.compress(b""))),
    "no pixels": _bytes(_png(0, 0, zlib.compress(b""))),
    "1 px wide": _bytes(_png(1, 20000, zlib.compress(bytes(40000)))),
    "TIFF of 4 billion px": _bytes(_tiff(65535, 65535)),
    "TIFF without pixels": _bytes(_tiff(64, 64)),
    "TIFF that loops": _bytes(_loop_tiff()),
    "TIFF header only": _bytes(b"II*\0\xff\xff\xff\xff"),
    "BigTIFF header only": _bytes(b"II+\0\x08\0\0\0" + b"\xff" * 8),
    "JPEG header only": _bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"),
    "GIF header only": _bytes(b"GIF89a\xff\xff\xff\xff\xf7\x00\x00"),
    "WebP header only": _bytes(b"RIFF\xff\xff\xff\x7fWEBPVP8X"),
    "SVG": _bytes(b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
    "FIFO": lambda file: os.mkfifo(file),
    "dangling link": lambda file: file.symlink_to("nowhere.png"),
    "link to itself": lambda file: file.symlink_to(file.name),
    "link to a device": lambda file: file.symlink_to("/dev/zero"),
    "link out of the folder": lambda file: file.symlink_to("/etc/passwd"),
    "folder": lambda file: file.mkdir(),
    "not readable": lambda file: file.touch(mode=0),
}  # fmt: skip
