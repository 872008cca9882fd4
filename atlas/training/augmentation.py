"""Augmentation: random changes of a training image, drawn again each time that it is shown.

Colours are stains. Gamma, gain and focus therefore change equally in all channels, because the
relation between stains must stay. Only noise differs between channels, as in a camera.

The strong augmentation is the one of an HPA 2018 student baseline, with the names of today's
albumentations. Albumentations has since dropped some transforms of that baseline: Flip is one of
three flips here, ShiftScaleRotate is Affine, RandomContrast and RandomBrightness are the halves of
RandomBrightnessContrast, and imgaug's transforms (IAA...) are AdditiveNoise, MovedGrid, Sharpen and
Emboss with the ranges of imgaug. Edges are mirrored as in the baseline. All transforms except CLAHE
accept any number of channels and treat each one separately; only GaussNoise draws different noise
for each channel.

Axes: C channels, H x W pixels.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import looks for updates online
import albumentations
import numpy as np
from numpy.typing import NDArray

from atlas.training.settings import Augmentation

# These strengths equal those of `atlas.synthetic.edits`, which makes planted copies.
GAMMA_PERCENT = (65, 160)
GAIN = (1 / 1.5, 1.5)
NOISE_SHARE = (4 / 255, 12 / 255)
BLUR_SIGMA_PX = (0.4, 1.2)
STRONG_BLUR_PX = (1.0, 3.0)
MIXED_SHARE, MIXED_SIDES = 0.3, (0.3, 0.7)  # of images, and of the sides of a window

MIRRORED = cv2.BORDER_REFLECT_101
# The old GaussNoise had variances of 10 to 50 counts by default. These are the same values as
# standard deviations, in shares of white.
GAUSS_STD = (10**0.5 / 255, 50**0.5 / 255)
LIGHT = 0.2
GRID_POINTS = 4  # points along each side of the grid
GRID_SHIFT = (0.03, 0.05)  # range of the standard deviation of a shift, in shares of the side


class Augment:
    """Change images of any number of channels at random.

    Images are uint8 C x H x W, before and after. Square images keep their size.

    Args:
        augmentation: The name of the augmentation.
        crop_px: The side of the random window that is cropped first. None keeps the whole image.
    """

    def __init__(self, augmentation: Augmentation, *, crop_px: int | None = None) -> None:
        steps = _steps(augmentation)
        if crop_px is not None:
            steps = [albumentations.RandomCrop(crop_px, crop_px, p=1), *steps]
        self.transforms = albumentations.Compose(steps) if steps else None

    def __call__(self, field_CHW: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Return the changed image, which depends on the image and the seed alone."""
        if self.transforms is None:
            return field_CHW
        return changed(field_CHW, self.transforms, seed)


def with_part_of(
    field_CHW: NDArray[np.uint8], others: Sequence[NDArray[np.uint8]], seed: int
) -> NDArray[np.uint8]:
    """Return the image with a window of one of the others, or as it is, at random.

    The window has 0.3 to 0.7 of each side, and lies anywhere in both images (compare CutMix, Yun et
    al. 2019). The image is still a copy of its source, as a part of a collage is.

    Args:
        field_CHW: The image.
        others: Images of the same shape.
        seed: All random draws follow from it.
    """
    rng = np.random.default_rng(seed)
    if not len(others) or rng.random() >= MIXED_SHARE:
        return field_CHW
    sides = [int(side * rng.uniform(*MIXED_SIDES)) for side in field_CHW.shape[1:]]
    (to_top, to_left), (top, left) = (
        [int(rng.integers(whole - side + 1)) for whole, side in
         zip(field_CHW.shape[1:], sides, strict=True)]
        for _ in range(2)
    )  # fmt: skip
    other = others[int(rng.integers(len(others)))]
    mixed = field_CHW.copy()
    mixed[:, to_top : to_top + sides[0], to_left : to_left + sides[1]] = other[
        :, top : top + sides[0], left : left + sides[1]
    ]
    return mixed


def changed(
    field_CHW: NDArray[np.uint8], transforms: albumentations.Compose, seed: int
) -> NDArray[np.uint8]:
    """Apply transforms to an image C x H x W. All random draws follow from the seed."""
    transforms.set_random_seed(seed)
    changed_HWC = transforms(image=field_CHW.transpose(1, 2, 0))["image"]
    return np.ascontiguousarray(changed_HWC.transpose(2, 0, 1))


def middle(images: NDArray[np.uint8], crop_px: int | None) -> NDArray[np.uint8]:
    """Return a view of the central window of images ... x H x W.

    Args:
        images: One image or several.
        crop_px: The side of the window. None returns the images as they are.
    """
    if crop_px is None:
        return images
    top, left = ((side - crop_px) // 2 for side in images.shape[-2:])
    return images[..., top : top + crop_px, left : left + crop_px]


def photometric_choices() -> dict[str, albumentations.ImageOnlyTransform]:
    """Return the photometric transforms by name, each with its probability."""
    return {
        "gamma": albumentations.RandomGamma(gamma_limit=GAMMA_PERCENT, p=0.5),
        "gain": albumentations.MultiplicativeNoise(multiplier=GAIN, p=0.5),
        "focus": albumentations.GaussianBlur(blur_limit=0, sigma_limit=BLUR_SIGMA_PX, p=0.25),
        "camera noise": albumentations.GaussNoise(std_range=NOISE_SHARE, p=0.25),
    }


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the strong augmentation, which applies one of several transforms.

    Attributes:
        probability: The probability that the step applies a transform at all.
        choices: The transforms by name. Their own probabilities `p` are the weights of the draw.
    """

    probability: float
    choices: dict[str, albumentations.BasicTransform]

    def as_transform(self) -> albumentations.OneOf:
        """Return the step as one transform of albumentations."""
        return albumentations.OneOf(list(self.choices.values()), p=self.probability)


def strong_steps() -> list[Step]:
    """Return the steps of the strong augmentation, with the probabilities of their source."""
    return [
        Step(probability=0.5, choices={"quarter rotations": albumentations.RandomRotate90(p=1)}),
        Step(probability=0.5, choices=_flips()),
        Step(probability=0.5, choices={"transpose": albumentations.Transpose(p=1)}),
        Step(probability=0.2, choices=_noises()),
        Step(probability=0.2, choices=_blurs()),
        Step(probability=0.2, choices={"shift, scale, rotate": _shift_scale_rotate()}),
        Step(probability=0.2, choices=_distortions()),
        Step(probability=0.3, choices=_sharpness_and_light()),
    ]


class ClaheEach(albumentations.CLAHE):  # type: ignore[misc]
    """CLAHE that equalises each channel separately, with the same limit.

    The CLAHE of albumentations accepts one or three channels. It equalises the common lightness of
    three channels, which would mix stains.
    """

    def apply(self, img: NDArray[Any], clip_limit: float, **params: Any) -> NDArray[Any]:
        """Equalise each channel of an image H x W x C."""
        planes = np.moveaxis(img, 2, 0)[..., None]
        done = [super(ClaheEach, self).apply(np.ascontiguousarray(p), clip_limit) for p in planes]
        return np.stack([plane.reshape(img.shape[:2]) for plane in done], axis=2)


class MovedGrid(albumentations.GridDistortion):  # type: ignore[misc]
    """The PiecewiseAffine transform of imgaug: the points of a 4 x 4 grid are shifted at random.

    A point moves by a standard deviation of 0.03 to 0.05 of the side, and the pixels between the
    points move with them. The PiecewiseAffine of albumentations takes 6 s for 512 px and weighs all
    points by their distance, which pulls all pixels towards them; its ThinPlateSpline solves for
    another kernel than the one that it applies, which tears images.
    """

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the shift of each pixel."""
        height, width = params["shape"][:2]
        deviation = self.py_random.uniform(*GRID_SHIFT)
        shifts = self.random_generator.normal(0, deviation, (GRID_POINTS, GRID_POINTS, 2))
        shift_HW2 = np.asarray(cv2.resize(shifts.astype(np.float32), (width, height)))
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        return {
            "map_x": columns + shift_HW2[:, :, 0] * np.float32(width),
            "map_y": rows + shift_HW2[:, :, 1] * np.float32(height),
        }


class CompressionEach(albumentations.ImageCompression):  # type: ignore[misc]
    """JPEG that compresses each channel separately, with the same quality.

    The ImageCompression of albumentations accepts one or three channels, and mixes three.
    """

    def apply(self, img: NDArray[Any], *args: Any, **params: Any) -> NDArray[Any]:
        """Compress each channel of an image H x W x C."""
        planes = np.moveaxis(img, 2, 0)[..., None]
        done = [super(CompressionEach, self).apply(p.copy(), *args, **params) for p in planes]
        return np.stack([plane.reshape(img.shape[:2]) for plane in done], axis=2)


class DroppedChannel(albumentations.ChannelDropout):  # type: ignore[misc]
    """ChannelDropout that leaves images of one channel as they are, instead of raising an error."""

    def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> Any:
        """Drop a channel of an image H x W x C."""
        if data["image"].shape[2] == 1:
            return data
        return super().__call__(*args, force_apply=force_apply, **data)


def copy_steps() -> list[albumentations.BasicTransform]:
    """Return what people do to copies of images: crops from 0.3 of the side, any rotation, ...

    Source: the augmentations of SSCD (Pizzi et al. 2022, section 4.1), for any number of channels.
    """
    window = albumentations.Affine(
        scale=(0.7, 3.3),
        keep_ratio=True,
        translate_percent=(-0.35, 0.35),
        rotate=(-180, 180),
        p=0.7,
    )
    return [
        albumentations.D4(p=1),
        window,
        *photometric_choices().values(),
        albumentations.Perspective(scale=(0.05, 0.1), p=0.1),
        albumentations.GaussianBlur(blur_limit=0, sigma_limit=STRONG_BLUR_PX, p=0.2),
        albumentations.Downscale(scale_range=(0.3, 0.7), p=0.2),
        CompressionEach(quality_range=(10, 75), p=0.3),
        albumentations.CoarseDropout(
            num_holes_range=(1, 3), hole_height_range=(0.1, 0.4), hole_width_range=(0.1, 0.4),
            fill="random_uniform", p=0.3,
        ),
        DroppedChannel(p=0.1),
        albumentations.ChannelShuffle(p=0.1),
        albumentations.InvertImg(p=0.1),
    ]  # fmt: skip


def _steps(augmentation: Augmentation) -> list[albumentations.BasicTransform]:
    if augmentation == "strong":
        return [step.as_transform() for step in strong_steps()]
    if augmentation == "copies":
        return copy_steps()
    rotations = [] if augmentation == "none" else [albumentations.D4(p=1)]
    return [*rotations, *(photometric_choices().values() if augmentation == "photometric" else ())]


def _flips() -> dict[str, albumentations.BasicTransform]:
    across, over = albumentations.HorizontalFlip(p=1), albumentations.VerticalFlip(p=1)
    both = albumentations.Sequential([across, over], p=1)
    return {"flip left-right": across, "flip up-down": over, "flip both": both}


def _noises() -> dict[str, albumentations.BasicTransform]:
    alike = albumentations.AdditiveNoise(
        noise_type="gaussian",
        spatial_mode="shared",
        noise_params={"mean_range": (0.0, 0.0), "std_range": (0.01, 0.05)},
    )
    return {"noise, all alike": alike, "noise": albumentations.GaussNoise(std_range=GAUSS_STD)}


def _blurs() -> dict[str, albumentations.BasicTransform]:
    return {
        "motion blur": albumentations.MotionBlur(blur_limit=(3, 7), p=0.2),
        "median blur": albumentations.MedianBlur(blur_limit=(3, 3), p=0.1),
        "blur": albumentations.Blur(blur_limit=(3, 3), p=0.1),
    }


def _shift_scale_rotate() -> albumentations.BasicTransform:
    return albumentations.Affine(
        translate_percent=(-0.0625, 0.0625), scale=(0.8, 1.2), keep_ratio=True, rotate=(-45, 45),
        border_mode=MIRRORED, p=1,
    )  # fmt: skip


def _distortions() -> dict[str, albumentations.BasicTransform]:
    return {
        "optical distortion": albumentations.OpticalDistortion(border_mode=MIRRORED, p=0.3),
        "grid distortion": albumentations.GridDistortion(border_mode=MIRRORED, p=0.1),
        "moved grid": MovedGrid(border_mode=MIRRORED, p=0.3),
    }


def _sharpness_and_light() -> dict[str, albumentations.BasicTransform]:
    return {
        "CLAHE": ClaheEach(clip_limit=2.0),
        "sharpen": albumentations.Sharpen(alpha=(0.2, 0.5), lightness=(0.5, 1.0)),
        "emboss": albumentations.Emboss(alpha=(0.2, 0.5), strength=(0.2, 0.7)),
        "contrast": albumentations.RandomBrightnessContrast(
            brightness_limit=0.0, contrast_limit=LIGHT
        ),
        "brightness": albumentations.RandomBrightnessContrast(
            brightness_limit=LIGHT, contrast_limit=0.0
        ),
    }
