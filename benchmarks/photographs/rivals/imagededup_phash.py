"""The known pictures that imagededup's PHash finds for new ones, with its default threshold.

PYTHON imagededup_phash.py PICTURES OUT.csv, in an environment that has imagededup. It compares all
pictures below one folder with one another, since it has no mode for two folders.
"""

import csv
import sys

from imagededup.methods import PHash

if __name__ == "__main__":
    folder, out = sys.argv[1:]
    pairs = PHash().find_duplicates(image_dir=folder, recursive=True, scores=True)
    with open(out, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["new", "known", "score"])
        for new, matches in pairs.items():
            if new.startswith("new/"):
                writer.writerows(
                    (new.removeprefix("new/"), known.removeprefix("known/"), -bits)
                    for known, bits in matches
                    if known.startswith("known/")
                )
