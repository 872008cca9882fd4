"""The checksum is that of an independent library."""

import google_crc32c
import numpy as np
import pytest

from atlas.core.crc32c import crc32c


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 4096, 4097, 4099, 65_537, 1_000_003])
def test_the_checksum_is_that_of_google(size: int) -> None:
    content = np.random.default_rng(size).bytes(size)
    assert crc32c(content) == google_crc32c.value(content)
    assert crc32c(bytes(size)) == google_crc32c.value(bytes(size))
