"""A run's images as pictures for a page. Axes: C channels, S rows and columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas.report.explanation_page import Picture, picture_uri
from atlas.report.pictures import stretched, to_rgb
from atlas.workflows.embed.lookup import field_of
from atlas.workflows.runs.run_folder import RunSoFar
from index.settings import RegistrationSettings

Field = NDArray[np.uint8]
SIZE_PX = 512  # where no index says at what size images are compared


@dataclass(frozen=True, kw_only=True)
class Draw:
    """own: of the image that is explained, C x S x S; others come at its size."""

    run: RunSoFar
    own: Field

    def field(self, image_id: str) -> Field:
        return field_of(image_id, self.run.spec, self.run.data, self.own.shape[1])

    def rgb(self, field: Field) -> NDArray[np.float32]:
        return to_rgb(field, self.run.spec.channels)

    def picture(self, image_id: str, said: str) -> Picture:
        return self.shown(self.field(image_id), said)

    def shown(self, field: Field, said: str) -> Picture:
        return Picture(said=said, uri=picture_uri(self.rgb(field)))

    def channels(self) -> list[Picture]:
        """Each by itself, gray; none where there is one."""
        names = self.run.spec.channels
        if len(names) == 1:
            return []
        planes = zip(names, stretched(self.own), strict=True)
        return [Picture(said=name, uri=picture_uri(plane)) for name, plane in planes]

    @property
    def registration(self) -> RegistrationSettings:
        leaks = self.run.leaks
        return leaks.calibration.registration if leaks else RegistrationSettings()


def draw_of(name: str, run: RunSoFar) -> Draw:
    size_px = run.index.image_size_px if run.index else SIZE_PX
    return Draw(run=run, own=field_of(name, run.spec, run.data, size_px))
