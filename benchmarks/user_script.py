"""What a user would write for the job: PIL, torchvision's transforms, an eager ResNet50 in batches
of 16, scikit-learn's neighbours. Nothing of this project is in it.

python benchmarks/user_script.py DATA/train DATA/train.csv 256 VECTORS.npy
"""

import csv
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from torchvision import transforms

CHANNELS = ("red", "green", "blue", "yellow")
BATCH_SIZE = 16


def main(folder: Path, table: Path, size_px: int, out: Path) -> None:
    with table.open() as file:
        ids = [row["Id"] for row in csv.DictReader(file)]
    network = timm.create_model("resnet50", num_classes=0, in_chans=len(CHANNELS)).eval()
    transform = transforms.Compose(
        [
            transforms.ToTensor(),
            transforms.Resize((size_px, size_px)),
            transforms.Normalize((0.08,) * len(CHANNELS), (0.12,) * len(CHANNELS)),
        ]
    )
    vectors = []
    with torch.no_grad():
        for start in range(0, len(ids), BATCH_SIZE):
            images = [transform(read(folder, name)) for name in ids[start : start + BATCH_SIZE]]
            vectors.append(network(torch.stack(images)).numpy())
    found = np.concatenate(vectors)
    NearestNeighbors(n_neighbors=10, metric="cosine").fit(found).kneighbors(found)
    np.save(out, found)


def read(folder: Path, name: str) -> np.ndarray:
    planes = [np.asarray(Image.open(folder / f"{name}_{channel}.png")) for channel in CHANNELS]
    return np.stack(planes, axis=2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
