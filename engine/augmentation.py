"""What a training image goes through, drawn anew for each showing. Axes: C channels, H x W pixels.

Colours are stains here: gamma, gain and focus change alike in all channels, because what one stain
says against another must stay; only noise differs, as a camera's does.
"""

import os

import numpy as np
from numpy.typing import NDArray

from engine.settings import Augmentation
from engine.strong import strong_steps

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network at import otherwise
import albumentations

# The strengths of `atlas.edits`, which copies are made with.
GAMMA_PERCENT = (65, 160)
GAIN = (1 / 1.5, 1.5)
NOISE_SHARE = (4 / 255, 12 / 255)
BLUR_SIGMA_PX = (0.4, 1.2)


class Augment:
    """uint8 C x H x W -> the same, of any number of channels; square ones keep their size.

    crop_px: side of the random window that is taken first; None takes the whole field.
    """

    def __init__(self, augmentation: Augmentation, *, crop_px: int | None = None) -> None:
        steps = _steps(augmentation)
        if crop_px is not None:
            steps = [albumentations.RandomCrop(crop_px, crop_px, p=1), *steps]
        self.transforms = albumentations.Compose(steps) if steps else None

    def __call__(self, field_CHW: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """A pure function of field and seed."""
        if self.transforms is None:
            return field_CHW
        return changed(field_CHW, self.transforms, seed)


def changed(
    field_CHW: NDArray[np.uint8], transforms: albumentations.Compose, seed: int
) -> NDArray[np.uint8]:
    """A field behind these transforms, whose draws follow from the seed alone."""
    transforms.set_random_seed(seed)
    changed_HWC = transforms(image=field_CHW.transpose(1, 2, 0))["image"]
    return np.ascontiguousarray(changed_HWC.transpose(2, 0, 1))


def middle(images: NDArray[np.uint8], crop_px: int | None) -> NDArray[np.uint8]:
    """The window in the middle of images ... x H x W, of this side; a view. None: all of them."""
    if crop_px is None:
        return images
    top, left = ((side - crop_px) // 2 for side in images.shape[-2:])
    return images[..., top : top + crop_px, left : left + crop_px]


def photometric_choices() -> dict[str, albumentations.ImageOnlyTransform]:
    """Each with its probability."""
    return {
        "gamma": albumentations.RandomGamma(gamma_limit=GAMMA_PERCENT, p=0.5),
        "gain": albumentations.MultiplicativeNoise(multiplier=GAIN, p=0.5),
        "focus": albumentations.GaussianBlur(blur_limit=0, sigma_limit=BLUR_SIGMA_PX, p=0.25),
        "camera noise": albumentations.GaussNoise(std_range=NOISE_SHARE, p=0.25),
    }


def _steps(augmentation: Augmentation) -> list[albumentations.BasicTransform]:
    if augmentation == "strong":
        return [step.as_transform() for step in strong_steps()]
    turns = [] if augmentation == "none" else [albumentations.D4(p=1)]
    return [*turns, *(photometric_choices().values() if augmentation == "photometric" else ())]
