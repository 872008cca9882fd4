"""Pages that need no other file: text by templates, pictures as data URIs."""

import base64
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from atlas.core.files import written_beside

TEMPLATES = Path(__file__).with_name("templates")


def save_page(path: Path, template: str, **values: object) -> None:
    """A template of `report/templates`, filled. Ids and names are text, whatever they hold."""
    pages = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    text = pages.get_template(template).render(values)
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """Of H x W (gray) or H x W x 3 (red, green, blue)."""
    return data_uri("image/png", _encoded(".png", pixels, []))


def webp_uri(pixels: NDArray[np.uint8], *, quality: int) -> str:
    """Of H x W, H x W x 3 or H x W x 4 (the last is opacity). quality: 1..100."""
    return data_uri("image/webp", _encoded(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality]))


def data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _encoded(ending: str, pixels: NDArray[np.uint8], options: list[int]) -> bytes:
    if pixels.ndim == 3:  # OpenCV has blue first
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    return cv2.imencode(ending, np.ascontiguousarray(pixels), options)[1].tobytes()
