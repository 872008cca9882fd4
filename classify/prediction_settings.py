"""Over which views of an image a classifier predicts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from classify.settings import ClassifierSettings


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """Views of each image, and what becomes of their probabilities.

    Args:
        views: 1 takes images as they are, 8 all flips and turns.
        crops: Of each image: 1 in the middle, 4 in the corners, 5 both, 9 in a grid.
        view_px: Side of a crop; that of the crops in training, or whole images, unless given.
        combine: Of the probabilities of all views: mean, max or median.
    """

    views: Literal[1, 8] = 1
    crops: Literal[1, 4, 5, 9] = 1
    view_px: int | None = None
    combine: Literal["mean", "max", "median"] = "mean"


def as_trained(prediction: PredictionSettings, settings: ClassifierSettings) -> PredictionSettings:
    """With crops of the side that training saw, where none is given."""
    if prediction.view_px is not None:
        return prediction
    return replace(prediction, view_px=settings.training.crop_px)


def prediction_problems(
    prediction: PredictionSettings, settings: ClassifierSettings, *, image_size_px: int
) -> Iterator[str]:
    """What cannot be done with such a classifier of images of that side, a line each."""
    side_px = as_trained(prediction, settings).view_px
    seen_px = settings.training.crop_px or image_size_px
    if side_px is None and prediction.crops > 1:
        yield f"{prediction.crops} crops of whole images would all be alike: give --view-px"
    if side_px is not None and not 1 <= side_px <= image_size_px:
        yield f"crops of {side_px} px: the classifier's images have {image_size_px} px"
    if side_px not in (None, seen_px) and settings.network == "finetune":
        yield f"a fine-tuned network takes nothing but {seen_px} px: leave out --view-px"
