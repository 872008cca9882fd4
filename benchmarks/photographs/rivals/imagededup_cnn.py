"""The known pictures that imagededup's CNN finds for new ones, with its default threshold.

PYTHON imagededup_cnn.py PICTURES OUT.csv, in an environment that has imagededup and the packages of
EfficientNet-Lite0, whose network is used where the weights of its own cannot be downloaded.
"""

import csv
import sys

from imagededup.methods import CNN

from benchmarks.leaks.rival_network import network_of

if __name__ == "__main__":
    folder, out = sys.argv[1:]
    finder = CNN(model_config=network_of()[0])
    pairs = finder.find_duplicates(image_dir=folder, recursive=True, scores=True)
    with open(out, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["new", "known", "score"])
        for new, matches in pairs.items():
            if new.startswith("new/"):
                writer.writerows(
                    (new.removeprefix("new/"), known.removeprefix("known/"), float(cosine))
                    for known, cosine in matches
                    if known.startswith("known/")
                )
