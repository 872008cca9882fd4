"""Show where the network of a classifier looks: Grad-CAM maps, and boxes around their peaks.

Source: Selvaraju et al., Grad-CAM (ICCV 2017), equations 1 and 2: each of the F maps of a layer is
weighted by the mean gradient of the label's logit over it, the maps are summed, and negative values
are set to 0. The paper uses the last convolutional layer, which for VGG16 at 224 px has a map of 14
x 14. For small images that layer is too coarse: a ResNet at 80 px has a map of 3 x 3. This module
therefore uses the deepest stage whose map has at least LEAST_SIDE positions a side, which at 512 px
is the last stage. On drawn cells of 64 px (benchmarks/pointing_game.py), the last two stages point
no better than chance.

Axes: N images, each with one label; C channels, H x W pixels (x to the right, y down), F features,
h x w the map of a stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from captum.attr import LayerGradCam
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from atlas.inference.runner import BATCH_SIZE, padded
from atlas.inference.torch_runner import evaluating, on_device
from atlas.training.layers import crops_of
from classify.classifier import Classifier
from classify.networks.base import ClassifierNetwork

LEAST_SIDE = 14


@dataclass(frozen=True, kw_only=True)
class Box:
    """Store a box in pixels: columns x0..x1 and rows y0..y1, where x1 and y1 are exclusive.

    Attributes:
        x0: First column.
        y0: First row.
        x1: Column after the last.
        y1: Row after the last.
        peak: Highest value inside, as a share of the map's maximum.
        mass: Share of the map's sum that lies on the connected bright region inside the box,
            without the rest of the box.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    peak: float
    mass: float


def activation_maps(
    classifier: Classifier,
    images_NCHW: NDArray[np.uint8],
    labels_N: Sequence[int],
    *,
    stage: int | None = None,
) -> NDArray[np.float32]:
    """Return maps of the pixels that support a label, float32 N x H x W.

    Values are in 0..1 and the maximum of each map is 1. A map is 0 everywhere if nothing supports
    the label, and 0 outside the centre that a classifier of crops sees. On a processor, the map of
    an image is the same bit for bit in every run, alone or among other images.

    Args:
        classifier: The classifier.
        images_NCHW: Images with the classifier's channels and size. Repeat an image to explain
            several of its labels.
        labels_N: The number of the label to explain, for each image.
        stage: Number of the network's stage whose maps are used; by default that of
            `stage_to_look_at`.

    Raises:
        ValueError: The number of labels and images differ.
    """
    if len(labels_N) != len(images_NCHW):
        raise ValueError(f"{len(labels_N)} labels for {len(images_NCHW)} images")
    size_px = images_NCHW.shape[2]
    seen_px = classifier.settings.training.crop_px or size_px
    (seen,) = crops_of(torch.from_numpy(images_NCHW), 1, seen_px)
    border_px = (size_px - seen_px) // 2
    maps = np.zeros((len(labels_N), size_px, size_px), np.float32)
    inner = slice(border_px, border_px + seen_px)
    maps[:, inner, inner] = _grad_cam(classifier.network, seen.numpy(), labels_N, stage=stage)
    return maps


def boxes_of(map_HW: NDArray[np.float32], *, share: float, least_area: float) -> list[Box]:
    """Return a box for each region in which the map is bright, highest peak first.

    An empty map has no boxes.

    Args:
        map_HW: The map.
        share: Share of the map's maximum from which a pixel is bright. Bright pixels that touch,
            also at a corner, form one region.
        least_area: Regions smaller than this share of the image are left out, except for the region
            with the maximum.

    Example:
        >>> map_HW = np.zeros((4, 4), np.float32)
        >>> map_HW[1, 1:3] = 1
        >>> (box,) = boxes_of(map_HW, share=0.5, least_area=0)
        >>> box.x0, box.x1, box.y0, box.y1
        (1, 3, 1, 2)
    """
    highest = float(map_HW.max(initial=0))
    if highest <= 0:
        return []
    bright = (map_HW >= share * highest).astype(np.uint8)
    count, place_of, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    total = float(map_HW.sum(dtype=np.float64))
    boxes = []
    for place in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[place])
        values = map_HW[place_of == place].astype(np.float64)
        peak = float(values.max()) / highest
        if area >= least_area * map_HW.size or peak == 1:
            mass = float(values.sum()) / total
            boxes.append(Box(x0=x, y0=y, x1=x + width, y1=y + height, peak=peak, mass=mass))
    return sorted(boxes, key=lambda box: (-box.peak, -box.mass, box.y0, box.x0))


def stage_to_look_at(network: ClassifierNetwork, image_1CHW: torch.Tensor) -> nn.Module:
    """Return the deepest stage whose map has LEAST_SIDE positions a side, else the finest stage."""
    layers = network.stages()
    sides = dict.fromkeys(layers, 0)

    def measure(layer: nn.Module, _: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4:  # some stages give several maps
            sides[layer] = min(output.shape[2:])

    hooks = [layer.register_forward_hook(measure) for layer in layers]
    try:
        with torch.inference_mode():
            network.maps(image_1CHW)
    finally:
        for hook in hooks:
            hook.remove()
    fine = [layer for layer in layers if sides[layer] >= LEAST_SIDE]
    return fine[-1] if fine else max(layers, key=lambda layer: sides[layer])


def _grad_cam(
    network: ClassifierNetwork,
    images_NCHW: NDArray[np.uint8],
    labels_N: Sequence[int],
    *,
    stage: int | None,
) -> NDArray[np.float32]:
    maps = np.zeros((len(images_NCHW), *images_NCHW.shape[2:]), np.float32)
    if not len(maps):
        return maps
    with evaluating(network) as device:
        layers = network.stages()
        first = on_device(images_NCHW[:1], device)
        layer = stage_to_look_at(network, first) if stage is None else layers[stage]
        method = LayerGradCam(network, layer)
        for start in range(0, len(maps), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            images = on_device(padded(images_NCHW[part], BATCH_SIZE), device)
            labels = torch.from_numpy(padded(np.asarray(labels_N[part]), BATCH_SIZE)).to(device)
            found = method.attribute(images, target=labels, relu_attributions=True)
            maps[part] = _in_unit_range(found, images.shape[2:])[: len(maps[part])].cpu().numpy()
    return maps


def _in_unit_range(map_N1hw: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Return the maps at the size of the images, N x H x W, each divided by its maximum."""
    at_size = functional.interpolate(map_N1hw.detach(), tuple(size), mode="bilinear")[:, 0]
    highest = at_size.amax((1, 2), keepdim=True)
    return torch.where(highest > 0, at_size / highest, 0.0)
