"""What a training image goes through, drawn anew for each showing. Axes: C channels, H x W pixels.

Colours are stains here: gamma, gain and focus change alike in all channels, because what one stain
says against another must stay; only noise differs, as a camera's does.
"""

import os
from typing import Literal

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network at import otherwise
import albumentations

Augmentation = Literal["d4", "photometric", "none"]

# The strengths of `atlas.edits`, which copies are made with.
GAMMA_PERCENT = (65, 160)
GAIN = (1 / 1.5, 1.5)
NOISE_SHARE = (4 / 255, 12 / 255)
BLUR_SIGMA_PX = (0.4, 1.2)


class Augment:
    """uint8 C x H x W -> the same, square, of any number of channels."""

    def __init__(self, augmentation: Augmentation) -> None:
        self.transforms = None
        if augmentation == "d4":
            self.transforms = albumentations.Compose([albumentations.D4(p=1)])
        elif augmentation == "photometric":
            self.transforms = albumentations.Compose([albumentations.D4(p=1), *_photometric()])

    def __call__(self, field_CHW: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """A pure function of field and seed."""
        if self.transforms is None:
            return field_CHW
        self.transforms.set_random_seed(seed)
        changed_HWC = self.transforms(image=field_CHW.transpose(1, 2, 0))["image"]
        return np.ascontiguousarray(changed_HWC.transpose(2, 0, 1))


def _photometric() -> list[albumentations.ImageOnlyTransform]:
    return [
        albumentations.RandomGamma(gamma_limit=GAMMA_PERCENT, p=0.5),
        albumentations.MultiplicativeNoise(multiplier=GAIN, p=0.5),
        albumentations.GaussianBlur(blur_limit=0, sigma_limit=BLUR_SIGMA_PX, p=0.25),
        albumentations.GaussNoise(std_range=NOISE_SHARE, p=0.25),
    ]
