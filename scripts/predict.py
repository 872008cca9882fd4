"""Predict a part of an atlas with a classifier or with folds."""

from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes

from atlas.cli.console import run
from classify.settings import PredictionSettings


def main(
    data: Path = Path("data"),
    classifier: Path = Path("runs/classifier"),
    folds: str | None = None,
    split: Literal["test", "train", "external", "labelled", "all"] = "test",
    out: Path = Path("runs/probabilities.h5"),
    prediction: OmitArgPrefixes[PredictionSettings] = PredictionSettings(),
) -> None:
    """Predict a part of an atlas with a classifier, or with the mean of folds.

    What was predicted before is kept, so a killed run goes on and new images cost only their own.

    Args:
        data: The atlas folder.
        classifier: What train_classifier.py or train_folds.py wrote.
        folds: Numbers of the folds to take, such as 1,3; all that are finished, unless given.
        split: Which images.
        out: The HDF5 file to write.
        prediction: Over which views of an image.
    """
    from atlas.workflows.classify.prediction import predict_part

    made = predict_part(data, classifier, out, prediction, part=split, folds=folds)
    count = len(made.probabilities.ids)
    print(f"{count} images by {', '.join(made.classifiers)}")
    if made.learned:
        print(
            f"{made.learned} of them trained a classifier that is asked here; for scores take its "
            "validation_probabilities.h5, or the folds' out_of_fold_probabilities.h5"
        )
    print(f"wrote {out}")


if __name__ == "__main__":
    run(main)
