"""Draw where a classifier looks."""

from pathlib import Path

from tyro.conf import OmitArgPrefixes

from atlas.cli.console import run
from atlas.workflows.settings import MapSettings


def main(
    data: Path = Path("data"),
    classifier: Path = Path("runs/classifier"),
    out: Path = Path("runs/maps"),
    maps: OmitArgPrefixes[MapSettings] = MapSettings(),
) -> None:
    """Draw where a classifier looks: for each label the images that it finds likeliest, their
    class activation maps beside them, and boxes around what speaks for the label.

    Args:
        data: The atlas folder.
        classifier: What train_classifier.py or train_folds.py wrote.
        out: The folder to write: a PNG for each label, and boxes.csv.
        maps: Which images, and what makes a box.
    """
    from atlas.workflows.classify.activation_pictures import show_maps

    made = show_maps(data, classifier, out, maps)
    print(f"{made.maps} maps of {made.labels} labels, {made.boxes} boxes in px of {made.size_px}")
    if made.empty:
        print(f"{made.empty} maps are empty: nothing in the image speaks for the label")
    print(f"wrote {out}: a picture for each label, boxes.csv")


if __name__ == "__main__":
    run(main)
