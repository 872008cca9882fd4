"""The checksum CRC-32C (RFC 3720), by which Zarr notices damage.

A register is changed by each byte. The change is linear, so the register after all bytes follows
from the registers of parts of them, which numpy computes side by side.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78  # with its bits reversed
ONES = 0xFFFFFFFF  # the register before the first byte
PLAIN_BYTES = 4096  # up to this size, the bytes are taken one by one

Registers = NDArray[np.uint32]


def crc32c(content: bytes) -> int:
    """Return the CRC-32C of bytes.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    return _plain(content) if len(content) <= PLAIN_BYTES else _by_lanes(content)


def _plain(content: bytes) -> int:
    register, table = ONES, _table().tolist()
    for byte in content:
        register = table[(register ^ byte) & 255] ^ (register >> 8)
    return int(register ^ ONES)


def _by_lanes(content: bytes) -> int:
    """Divide the bytes into as many lanes as a lane has bytes, and combine their registers."""
    lanes = math.isqrt(len(content))
    steps = -(-len(content) // lanes)
    padded = np.zeros(lanes * steps, np.uint8)  # zeros in front leave an empty register empty
    padded[-len(content) :] = np.frombuffer(content, np.uint8)
    padded[-len(content) :][:4] ^= 255  # the register begins with ones
    bits = np.asarray(1 << np.arange(32), np.uint32)
    registers = np.concatenate([np.zeros(lanes, np.uint32), bits])
    for column in padded.reshape(lanes, steps).T:
        registers[:lanes] ^= column
        registers = _table()[registers & 255] ^ (registers >> 8)
    moved = registers[lanes:]  # what becomes of each bit during the bytes of a lane
    total = np.uint32(0)
    for lane in registers[:lanes]:
        total = np.bitwise_xor.reduce(moved[(total & bits) != 0], initial=0) ^ lane
    return int(total) ^ ONES


@cache
def _table() -> Registers:
    """Return how each byte changes an empty register."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        odd = np.asarray(table & 1, bool)
        table = np.asarray(table >> 1, np.uint32) ^ np.where(odd, POLYNOMIAL, 0).astype(np.uint32)
    return table
