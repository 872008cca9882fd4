"""imagededup as its documentation says, on RGB composites, in the environment of leaks/README.md.

RIVALS/python benchmarks/rival_script.py cnn|phash FOLDER

Its CNN method uses an untrained ResNet50 as a custom network.
"""

import sys
import warnings

import torch
from imagededup.methods import CNN, PHash
from imagededup.utils.models import CustomModel
from torchvision import models, transforms


def main(method: str, folder: str) -> None:
    # imagededup warns that one of its own defaults has no effect.
    warnings.filterwarnings("ignore", "Parameter num_enc_workers", RuntimeWarning)
    finder = PHash(verbose=False) if method == "phash" else cnn()
    finder.find_duplicates(encoding_map=finder.encode_images(image_dir=folder))


def cnn() -> CNN:
    network = models.resnet50(weights=None)
    network.fc = torch.nn.Identity()
    transform = transforms.Compose([transforms.Resize((256, 256)), transforms.ToTensor()])
    own = CustomModel(name="resnet50", model=network.eval(), transform=transform)
    return CNN(verbose=False, model_config=own)


if __name__ == "__main__":
    main(*sys.argv[1:])
