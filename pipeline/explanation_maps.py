"""Where the classifier looked for the labels that it gives. Axes: H rows, W columns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atlas.errors import MissingStageError
from atlas.manifest import ImageRow, Manifest
from atlas.queries import find_query
from pipeline.activation_maps import images_of, mean_maps, open_classifiers
from pipeline.explanation_drawing import Draw
from pipeline.run_reading import Classified, RunSoFar
from report.activation_montage import heated
from report.explanation_page import Bar, Picture, picture_uri


def maps_of_given(
    name: str, classified: Classified, bars: Sequence[Bar], draw: Draw
) -> list[Picture]:
    """A picture for each label that is given; none where the classifier's weights are not there."""
    given = [bar for bar in bars if bar.given]
    manifest = _manifest_of(name, draw.run)
    try:
        asked = open_classifiers(classified.folder, manifest)
    except MissingStageError:  # probabilities may come from elsewhere
        return []
    images = images_of(asked, manifest, [name])
    maps = mean_maps(asked, images, {name: [bar.label for bar in given]})
    picture = draw.rgb(images[name])
    return [_picture(bar, draw.run.spec.labels, picture, maps[name, bar.label]) for bar in given]


def _manifest_of(name: str, run: RunSoFar) -> Manifest:
    """Of this image alone: reading the whole atlas would take a minute for one page."""
    files = find_query(name, run.spec, run.data).files
    row = ImageRow(id=name, split="test", files=files, width_px=0, height_px=0)
    return Manifest(spec=run.spec, rows=(row,))


def _picture(
    bar: Bar, names: Sequence[str], picture: NDArray[np.float32], map_HW: NDArray[np.float32]
) -> Picture:
    said = f"{bar.label} {names[bar.label]}"
    if not map_HW.any():
        said += ": nothing speaks for it"
    return Picture(said=said, uri=picture_uri(heated(picture, map_HW)))
