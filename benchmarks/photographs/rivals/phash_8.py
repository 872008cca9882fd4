"""The nearest known picture of each new one by a perceptual hash, in all 8 flips and rotations.

PYTHON phash_8.py PICTURES OUT.csv. The score is minus the number of bits that differ, of 64.
"""

import csv
import sys
from pathlib import Path

import imagehash
from PIL import Image, ImageOps
from PIL.Image import Transpose


def opened(path: Path) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def hashes(path: Path) -> list[imagehash.ImageHash]:
    small = opened(path).resize((256, 256))
    return [imagehash.phash(small), *(imagehash.phash(small.transpose(way)) for way in Transpose)]


if __name__ == "__main__":
    folder, out = Path(sys.argv[1]), sys.argv[2]
    known = {
        path.relative_to(folder / "known").as_posix(): imagehash.phash(opened(path))
        for path in sorted((folder / "known").rglob("*.*"))
    }
    with open(out, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["new", "known", "score"])
        for path in sorted((folder / "new").rglob("*.*")):
            ways = hashes(path)
            bits, name = min((min(h - one for one in ways), name) for name, h in known.items())
            writer.writerow([path.relative_to(folder / "new").as_posix(), name, -int(bits)])
