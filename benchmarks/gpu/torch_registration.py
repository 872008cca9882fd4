"""Registration scores as batched products in torch: a prototype, to learn its speed.

It does what `index.copies.registration.register_all` does without refining to a sub-pixel map, for
many pairs at a time. Shrinking, cutting and laying over are linear, so each is a product with a
small matrix; windows are matched by products of spectra. Axes: Q queries, K candidates of each,
C channels, T rotations, W windows, H x W or Y x X pixels, B pairs and places.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from index.copies.registration import NOTHING
from index.copies.template_matching import LEAST_POWER
from index.settings import RegistrationSettings

ROTATIONS = 8
SEEN_FROM = 0.99  # as registration.py has it: share of a pixel that both fields show


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A window's shape. shrink_Y, shrink_X: rows and columns of the window from the whole rotation.
    zoom_yx, margin_yx: as `index.copies.registration.Window` has them."""

    shrink_Y: torch.Tensor
    shrink_X: torch.Tensor
    zoom_yx: tuple[float, float]
    margin_yx: tuple[int, int]

    @property
    def height_width(self) -> tuple[int, int]:
        return len(self.shrink_Y), len(self.shrink_X)


class TorchRegistration:
    """Scores of pairs by their pixels, on the device."""

    def __init__(self, settings: RegistrationSettings, device: str) -> None:
        self.settings, self.device = settings, device
        self.shapes = [self._shape(*shape) for shape in settings.window_shapes]

    def scores(self, queries_QCHW: torch.Tensor, references_QKCHW: torch.Tensor) -> torch.Tensor:
        """Return the score of each pair, Q x K, of band-passed fields; -1 where one is blank."""
        rotations_QTCHW = torch.stack(
            [rotated(queries_QCHW, number) for number in range(ROTATIONS)], 1
        )
        place = self._best_places(rotations_QTCHW, references_QKCHW)
        shown = self._shown(queries_QCHW)[:, None] & self._shown(references_QKCHW)
        registration_score = torch.stack(
            [
                self._scores(rotations_QTCHW, references_QKCHW, shown, place[..., n, :])
                for n in range(self.settings.refined_places)
            ]
        ).amax(0)
        blank = self._blank(queries_QCHW)[:, None] | self._blank(references_QKCHW)
        return torch.where(blank, NOTHING.registration_score, registration_score)

    def _best_places(self, rotations: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        """Q x K x places x (shape, rotation, y, x), the best first."""
        side = self.settings.search_px
        flat_QTHW, flat_QKHW = (self._searched(fields) for fields in (rotations, references))
        flat_QKHW = flat_QKHW - flat_QKHW.mean((-2, -1), keepdim=True)
        spectra_QK = torch.fft.rfft2(flat_QKHW)
        found = []
        for number, shape in enumerate(self.shapes):
            height, width = shape.height_width
            window = shape.shrink_Y @ flat_QTHW @ shape.shrink_X.T
            window = window - window.mean((-2, -1), keepdim=True)
            window = window / window.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-30)
            spectra_QT = torch.fft.rfft2(window, s=(side, side)).conj()
            products = torch.fft.irfft2(
                spectra_QK[:, :, None] * spectra_QT[:, None], s=(side, side)
            )
            rows, columns = side - height + 1, side - width + 1
            scores = products[..., :rows, :columns] * _inverse_lengths(flat_QKHW, shape)
            best, at = scores.flatten(-2).max(-1)
            rotation = torch.arange(ROTATIONS, device=self.device).expand_as(at)
            found.append(
                torch.stack(
                    [best, torch.full_like(best, number), rotation, at // columns, at % columns]
                )
            )
        every = torch.cat(found, dim=-1)  # 5 x Q x K x W
        chosen = every[0].topk(self.settings.refined_places, dim=-1).indices
        places = every[1:].gather(-1, chosen.expand(4, *chosen.shape))
        return places.movedim(0, -1).long()

    def _scores(
        self,
        rotations: torch.Tensor,
        references: torch.Tensor,
        shown: torch.Tensor,
        place: torch.Tensor,
    ) -> torch.Tensor:
        """The correlation of each pair at one place, over what both show, Q x K."""
        side, (shape, rotation, y, x) = self.settings.size_px, place.unbind(-1)
        laid = rotations.gather(
            1, rotation[..., None, None, None].expand(*rotation.shape, *rotations.shape[2:])
        )
        rows, columns = (self._laying(axis, shape, at) for axis, at in ((0, y), (1, x)))
        warped = rows[:, :, None] @ laid @ columns[:, :, None].mT
        seen = (rows.sum(-1)[..., None] * columns.sum(-1)[..., None, :]) > SEEN_FROM
        edge = side // 32
        seen[..., :edge, :] = seen[..., side - edge :, :] = False
        seen[..., :, :edge] = seen[..., :, side - edge :] = False
        counts = seen.sum((-2, -1))
        mask = (seen[:, :, None] & shown[..., None, None]).float()
        one, other = (_centred(fields, mask) for fields in (warped, references))
        product, powers = (one * other).sum((2, 3, 4)), (one**2).sum((2, 3, 4))
        powers = powers * (other**2).sum((2, 3, 4))
        registration_score = (product / powers.clamp_min(1e-30).sqrt()).clamp(-1, 1)
        enough = (counts >= self.settings.least_overlap * side * side) & (powers > 0)
        return torch.where(enough, registration_score, -1.0)

    def _laying(self, axis: int, shape: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """Q x K x side x side: rows of the reference from rows of the query, linearly between two
        of them; nothing where the query does not reach."""
        side, larger = self.settings.size_px, self.settings.size_px / self.settings.search_px
        middle = (larger - 1) / 2
        zooms = torch.tensor([s.zoom_yx[axis] for s in self.shapes], device=self.device)
        margins = torch.tensor([s.margin_yx[axis] for s in self.shapes], device=self.device)
        zoom, margin = zooms[shape], margins[shape]
        shift = (larger * (margin - at) - middle) * zoom + middle
        pixels = torch.arange(side, device=self.device)
        source = zoom[..., None] * pixels + shift[..., None]
        return (1 - (source[..., None] - pixels).abs()).clamp_min(0)

    def _searched(self, fields: torch.Tensor) -> torch.Tensor:
        flat = fields.sum(-3)
        step = self.settings.size_px // self.settings.search_px
        small = avg_pool2d(flat.flatten(0, 1), step)
        return small.reshape(*flat.shape[:2], *small.shape[-2:])

    def _shown(self, fields: torch.Tensor) -> torch.Tensor:
        return fields.std((-2, -1), correction=0) >= self.settings.blank_below

    def _blank(self, fields: torch.Tensor) -> torch.Tensor:
        return fields.std((-3, -2, -1), correction=0) < self.settings.blank_below

    def _shape(self, *shares: float) -> Shape:
        side = self.settings.search_px
        lengths = [round(side * share) for share in shares]
        margins = [max(0, round(side * 0.05) - (side - length) // 2) for length in lengths]
        shrink = [
            torch.from_numpy(_area_matrix(side, length)[margin : length - margin]).to(self.device)
            for length, margin in zip(lengths, margins, strict=True)
        ]
        return Shape(
            shrink_Y=shrink[0],
            shrink_X=shrink[1],
            zoom_yx=(side / lengths[0], side / lengths[1]),
            margin_yx=(margins[0], margins[1]),
        )


def rotated(fields: torch.Tensor, number: int) -> torch.Tensor:
    """Return one of the eight flips and rotations, numbered as `atlas.synthetic.edits.rotated`."""
    quarter = torch.rot90(fields, number % 4, dims=(-2, -1))
    return quarter.flip(-1) if number >= 4 else quarter


def _area_matrix(side: int, length: int) -> np.ndarray:
    """length x side: OpenCV's shrinking by areas of a column of pixels."""
    made = cv2.resize(np.eye(side, dtype=np.float32), (side, length), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(made, np.float32)


def _inverse_lengths(images_QKHW: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Q x K x 1 x Y x X: of what lies below a window, without its mean; 0 where that shows
    nothing."""
    height, width = shape.height_width
    exact = images_QKHW.double()
    total, power = (_sums_below(values, height, width) for values in (exact, exact**2))
    power = power - total**2 / (height * width)
    least = (LEAST_POWER * (exact**2).sum((-2, -1), keepdim=True)).clamp_min(1e-300)
    inverse = torch.where(power > least, power.clamp_min(1e-300).rsqrt(), 0.0)
    return inverse.float()[:, :, None]


def _sums_below(values: torch.Tensor, height: int, width: int) -> torch.Tensor:
    sums = torch.nn.functional.pad(values.cumsum(-2).cumsum(-1), (1, 0, 1, 0))
    strip = sums[..., height:, :] - sums[..., :-height, :]
    return strip[..., width:] - strip[..., :-width]


def _centred(fields: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Without the mean over what is compared, and nothing elsewhere."""
    count = mask.sum((-2, -1), keepdim=True).clamp_min(1)
    return (fields - (fields * mask).sum((-2, -1), keepdim=True) / count) * mask
