"""Changes of files that a fuzzer makes: of bytes, of the words of texts, and of image headers."""

import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence

WORDS = (
    b"", b"nan", b"NaN", b"null", b"true", b"-1", b"0", b"1e999", b"-1e999", b"9" * 30, b"0x10",
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"caf\xe9", b"\xed\xa0\x80", b'"', b'""', b"'", b",", b";",
    b"\t", b"\r", b"\n", b"[]", b"{}", b"[[[[[[[[", b"[" * 2000, b'{"a":' * 500, b"{id}",
    b"{channel}", b"{0}", b"{", b"../x", b"/etc/passwd", b"Infinity", b"1_000", b"\xd9\xa1",
    b"\\u0000", b"\\ud800", b"x" * 5000, b"1.5", b"28", b"-", b"2018-11-01", b"=cmd", b"[/b]",
    b"\x1b[31m",
)  # fmt: skip
TOKEN = re.compile(rb'"[^"\n]*"|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[A-Za-z_]\w*|[\[\]{},:=\n]')
TEXTS = (".csv", ".json", ".toml", ".xml")
NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1)
HEADER_BYTES = 512
Change = Callable[[bytes, random.Random], bytes]


def mutated(content: bytes, ending: str, others: Sequence[bytes], dice: random.Random) -> bytes:
    """Return a changed copy of a file.

    Args:
        content: The file.
        ending: The ending of its name, which chooses the changes.
        others: Other files of the kind, parts of which may be taken over.
        dice: Random numbers.
    """
    own: tuple[Change, ...] = BYTES
    if ending in TEXTS:
        own = (*TEXT, *TEXT, *BYTES)
    elif ending == ".png" and dice.random() < 0.7:
        return _in_png(content, dice)
    elif ending in (".tif", ".tiff"):
        own = (_in_tiff, _in_tiff, *BYTES)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        if others and dice.random() < 0.05:
            content = _spliced(content, dice.choice(others), dice)
        else:
            content = dice.choice(own)(content, dice)
    return content


def _place(content: bytes, dice: random.Random) -> int:
    """Return a position, half of the time one near the beginning, where headers are."""
    end = len(content) if dice.random() < 0.5 else min(len(content), HEADER_BYTES)
    return dice.randrange(end) if end else 0


def _flip(content: bytes, dice: random.Random) -> bytes:
    if not content:
        return b"\0"
    at = _place(content, dice)
    return content[:at] + bytes([content[at] ^ (1 << dice.randrange(8))]) + content[at + 1 :]


def _set(content: bytes, dice: random.Random) -> bytes:
    at = _place(content, dice)
    packed = struct.pack(dice.choice("<>") + "I", dice.choice(NUMBERS))
    packed = packed[: dice.choice((1, 2, 4))]
    return content[:at] + packed + content[at + len(packed) :]


def _zeroed(content: bytes, dice: random.Random) -> bytes:
    at, length = _place(content, dice), dice.choice((4, 16, 65, 512))
    return content[:at] + bytes(min(length, len(content) - at)) + content[at + length :]


def _cut(content: bytes, dice: random.Random) -> bytes:
    return content[: _place(content, dice)]


def _removed(content: bytes, dice: random.Random) -> bytes:
    at = _place(content, dice)
    return content[:at] + content[at + dice.choice((1, 2, 8, 64)) :]


def _inserted(content: bytes, dice: random.Random) -> bytes:
    at = _place(content, dice)
    return content[:at] + dice.randbytes(dice.choice((1, 2, 8, 64))) + content[at:]


def _doubled(content: bytes, dice: random.Random) -> bytes:
    at, length = _place(content, dice), dice.choice((1, 8, 64, 512))
    return content[: at + length] + content[at:]


def _spliced(content: bytes, other: bytes, dice: random.Random) -> bytes:
    return content[: _place(content, dice)] + other[_place(other, dice) :]


def _word_replaced(content: bytes, dice: random.Random) -> bytes:
    found = [match.span() for match in TOKEN.finditer(content)]
    if not found:
        return content + dice.choice(WORDS)
    start, end = dice.choice(found)
    word = dice.choice(WORDS)
    quoted = content[start : start + 1] == b'"' and dice.random() < 0.6
    return content[:start] + (b'"' + word + b'"' if quoted else word) + content[end:]


def _line_changed(content: bytes, dice: random.Random) -> bytes:
    """Remove a line, repeat it, move it, or join two."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return b"\n"
    at, to = dice.randrange(len(lines)), dice.randrange(len(lines))
    how = dice.randrange(4)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(to, lines[at])
    elif how == 2:
        lines[at], lines[to] = lines[to], lines[at]
    else:
        lines[at] = lines[at].rstrip(b"\r\n")
    return b"".join(lines)


def _column_changed(content: bytes, dice: random.Random) -> bytes:
    """Remove a column of a table, or repeat it."""
    rows = [line.split(b",") for line in content.split(b"\n")]
    at, repeated = dice.randrange(max(1, len(rows[0]))), dice.random() < 0.5
    for row in rows:
        if at < len(row) and repeated:
            row.append(row[at])
        elif at < len(row):
            del row[at]
    return b"\n".join(b",".join(row) for row in rows)


def _ends_changed(content: bytes, dice: random.Random) -> bytes:
    """Encode a text in another way."""
    how = dice.randrange(4)
    if how == 0:
        return content.replace(b"\n", dice.choice((b"\r\n", b"\r", b"\n\n")))
    if how == 1:
        return b"\xef\xbb\xbf" + content
    if how == 2:
        return content.decode("utf-8", "replace").encode("utf-16")
    return content.replace(b",", dice.choice((b";", b"\t", b", ")))


def _in_png(content: bytes, dice: random.Random) -> bytes:
    """Change a chunk of a PNG and make its check sum right, so that decoders read on."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return _flip(content, dice)
    chosen = dice.randrange(len(chunks))
    how = dice.randrange(6)
    kind, data = chunks[chosen]
    if how == 0:
        chunks.insert(dice.randrange(len(chunks)), chunks[chosen])
    elif how == 1:
        del chunks[chosen]
    elif how == 2:
        kinds = (b"tRNS", b"PLTE", b"gAMA", b"eXIf", b"acTL", b"fcTL", b"zTXt", b"iCCP")
        chunks.insert(1, (dice.choice(kinds), dice.randbytes(12)))
    else:
        chunks[chosen] = (kind, dice.choice(BYTES)(data, dice))
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _in_tiff(content: bytes, dice: random.Random) -> bytes:
    """Change a field of an entry of the first directory of a TIFF."""
    order = "<" if content[:2] == b"II" else ">"
    if len(content) < 10:
        return _inserted(content, dice)
    (start,) = struct.unpack(order + "I", content[4:8])
    if start + 2 > len(content):
        return _flip(content, dice)
    (count,) = struct.unpack(order + "H", content[start : start + 2])
    at = start + 2 + 12 * dice.randrange(max(1, min(count, 64)))
    offset, kind = dice.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H")))
    number = dice.choice((*NUMBERS, *range(16), 8, 12, 32, 5, 7, 8, 50000, 32773))
    if kind == "H":
        number &= 0xFFFF
    packed = struct.pack(order + kind, number)
    return content[: at + offset] + packed + content[at + offset + len(packed) :]


BYTES: tuple[Change, ...] = (_flip, _set, _set, _zeroed, _cut, _removed, _inserted, _doubled)
TEXT: tuple[Change, ...] = (
    _word_replaced, _word_replaced, _word_replaced, _line_changed, _column_changed, _ends_changed,
)  # fmt: skip
