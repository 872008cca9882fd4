"""What images are read from by their ids.

Axes: N images, C channels, H rows, W columns.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ImageSource(Protocol):
    """Images by id, which are read when they are needed."""

    def read(self, ids: Sequence[str], /) -> NDArray[np.uint8]:
        """Return the pixels of images, uint8 N x C x H x W."""

    def keys(self, ids: Sequence[str], /) -> Sequence[str]:
        """Return a key of the pixels of each image, under which results are kept."""

    def only(self, ids: Sequence[str], /) -> "ImageSource":
        """Return the source of these images alone, which is quick to send to another process."""
