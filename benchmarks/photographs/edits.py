"""Edits that people make before they save a photograph again.

An edit is a pure function of a photograph and a generator of random numbers. Its result is an RGB
picture, and the JPEG quality at which it is saved where the edit asks for one.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from PIL.Image import Resampling, Transpose

Picture: TypeAlias = Image.Image
Edit: TypeAlias = Callable[[Picture, np.random.Generator], Picture]

COARSE_QUALITY = 40
JPEG_QUALITY = {"jpeg 40": COARSE_QUALITY, "combined": 50}  # others are saved in any format
CAPTION = "Summer 2026 - all together"
PHONE_ASPECT = 19.5 / 9


def jpeg_40(picture: Picture, rng: np.random.Generator) -> Picture:
    """Change nothing; the picture is saved as a coarse JPEG."""
    return picture.copy()


def half_size(picture: Picture, rng: np.random.Generator) -> Picture:
    """Shrink both sides to 0.5."""
    return _scaled(picture, 0.5)


def crop_70(picture: Picture, rng: np.random.Generator) -> Picture:
    """Keep 0.7 of both sides, at a random place."""
    return _cropped(picture, 0.7, rng)


def rotate_90(picture: Picture, rng: np.random.Generator) -> Picture:
    """Rotate by 90 degrees, to the left or to the right."""
    return picture.transpose(rng.choice([Transpose.ROTATE_90, Transpose.ROTATE_270]))


def mirror(picture: Picture, rng: np.random.Generator) -> Picture:
    """Exchange left and right."""
    return picture.transpose(Transpose.FLIP_LEFT_RIGHT)


def rotate_7(picture: Picture, rng: np.random.Generator) -> Picture:
    """Rotate by 7 degrees and crop, so that no corner is empty."""
    degrees = 7 * rng.choice([-1, 1])
    rotated = picture.rotate(float(degrees), Resampling.BICUBIC)
    width, height = picture.size
    sine, cosine = math.sin(math.radians(7)), math.cos(math.radians(7))
    # The largest window of the same aspect that lies inside of the rotated picture.
    share = 1 / (cosine + sine * max(width / height, height / width))
    left, top = round(width * (1 - share) / 2) + 1, round(height * (1 - share) / 2) + 1
    return rotated.crop((left, top, width - left, height - top))


def brightness_gamma(picture: Picture, rng: np.random.Generator) -> Picture:
    """Make the photograph darker or brighter, by gamma and by gain."""
    gamma, gain = rng.choice([0.65, 1.5]), rng.uniform(0.85, 1.15)
    levels = np.clip(255 * gain * (np.arange(256) / 255) ** gamma, 0, 255).round().astype(int)
    return picture.point(levels.tolist() * 3)


def grayscale(picture: Picture, rng: np.random.Generator) -> Picture:
    """Drop the colours."""
    return picture.convert("L").convert("RGB")


def blur(picture: Picture, rng: np.random.Generator) -> Picture:
    """Blur with a Gaussian whose sigma is 0.01 of the shorter side."""
    return picture.filter(ImageFilter.GaussianBlur(0.01 * min(picture.size)))


def text(picture: Picture, rng: np.random.Generator) -> Picture:
    """Write a caption over the lower part."""
    result = picture.copy()
    width, height = picture.size
    font = ImageFont.load_default(width / 15)
    place = (width / 2, height * float(rng.uniform(0.75, 0.9)))
    stroke = max(1, width // 300)
    ImageDraw.Draw(result).text(
        place, CAPTION, "white", font, anchor="mm", stroke_width=stroke, stroke_fill="black"
    )
    return result


def logo(picture: Picture, rng: np.random.Generator) -> Picture:
    """Lay a round logo over a corner; it covers a fourth of the shorter side."""
    size = min(picture.size) // 4
    badge = Image.new("RGB", (size, size), "#c02040")
    font = ImageFont.load_default(size / 3)
    ImageDraw.Draw(badge).text((size / 2, size / 2), "ABC", "white", font, anchor="mm")
    mask = Image.new("L", (size, size), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, size - 1, size - 1), fill=230)
    margin = size // 6
    left = rng.choice([margin, picture.width - size - margin])
    top = rng.choice([margin, picture.height - size - margin])
    result = picture.copy()
    result.paste(badge, (int(left), int(top)), mask)
    return result


def frame(picture: Picture, rng: np.random.Generator) -> Picture:
    """Put a frame of 0.08 of the shorter side around the photograph."""
    width = round(0.08 * min(picture.size))
    size = (picture.width + 2 * width, picture.height + 2 * width)
    result = Image.new("RGB", size, str(rng.choice(["white", "black", "#6b4a2b"])))
    result.paste(picture, (width, width))
    return result


def screenshot(picture: Picture, rng: np.random.Generator) -> Picture:
    """Show the photograph on the screen of a telephone, with bars above and below."""
    width = picture.width
    height = max(round(width * PHONE_ASPECT), round(picture.height * 1.2))
    result = Image.new("RGB", (width, height), "black")
    result.paste(picture, (0, (height - picture.height) // 2))
    draw = ImageDraw.Draw(result)
    font = ImageFont.load_default(width / 22)
    draw.text((width / 20, width / 30), "10:42", "white", font)
    draw.text((width * 0.85, width / 30), "87%", "white", font)
    for share in (0.2, 0.5, 0.8):
        x, y, radius = width * share, height - width / 15, width / 40
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline="white", width=2)
    return result


def combined(picture: Picture, rng: np.random.Generator) -> Picture:
    """Crop to 0.85, mirror, change brightness, shrink to 0.7; saved as a JPEG of quality 50."""
    cropped = mirror(_cropped(picture, 0.85, rng), rng)
    return _scaled(brightness_gamma(cropped, rng), 0.7)


EDITS: dict[str, Edit] = {
    "jpeg 40": jpeg_40,
    "half size": half_size,
    "crop 0.7": crop_70,
    "rotation by 90": rotate_90,
    "mirror": mirror,
    "rotation by 7": rotate_7,
    "brightness and gamma": brightness_gamma,
    "grayscale": grayscale,
    "blur": blur,
    "text": text,
    "logo": logo,
    "frame": frame,
    "screenshot": screenshot,
    "combined": combined,
}


def _scaled(picture: Picture, share: float) -> Picture:
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    return picture.resize(size, Resampling.LANCZOS)


def _cropped(picture: Picture, share: float, rng: np.random.Generator) -> Picture:
    width, height = round(picture.width * share), round(picture.height * share)
    left = int(rng.integers(picture.width - width + 1))
    top = int(rng.integers(picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))
