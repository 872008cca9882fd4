"""Classifiers: train, predict, decide, and look at what they see."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.answers import Answer, following
from atlas.cli.console import show_table
from atlas.workflows.settings import ClassifierFolds, MapSettings
from classify.decisions.settings import DecisionSettings
from classify.recipes import FOLD_RECIPES, RECIPES, Recipe
from classify.settings import USUAL, ClassifierSettings, PredictionSettings, PretrainingSettings

if TYPE_CHECKING:
    import pandas as pd

    from classify.held_out import TrainedClassifier

KEPT_EPOCHS = {
    "last": "the last epoch is kept; the tested images chose nothing but thresholds",
    "best": "the best epoch on its tested images is kept: the scores of folds are optimistic",
}


def train_classifier(
    recipe: Positional[Recipe] = "densenet121",
    data: Path = Path("data"),
    out: Path = Path("runs/classifier"),
    settings: OmitArgPrefixes[ClassifierSettings] = RECIPES["densenet121"],
) -> Answer:
    """Train a classifier on the labelled images, and predict the test images.

    The same command resumes a stopped run. What is not given is the recipe's.

    Args:
        recipe: densenet121 is the winner's of 2018; smoke is small and quick; the others follow
            other networks of that time.
        data: The atlas folder.
        out: The run folder to write.
        settings: What is learned from what.
    """
    from atlas.workflows.classify import training

    run = training.train_classifier(data, out, settings)
    print("\n".join(_of_classifier(run.trained)))
    scores = run.trained.scores
    return Answer(
        summary=run.summary,
        wrote=[out],
        next_command=following("make_submission", data=data, classifier=out),
        details={
            "macro_f1_at_half": scores.at_half,
            "macro_f1_at_one_threshold": scores.at_overall_threshold,
            "macro_f1_at_a_threshold_for_each_label": scores.at_class_thresholds,
            "test_images": run.trained.test_images,
        },
    )


def train_folds(
    recipe: Positional[Recipe] = "densenet121",
    data: Path = Path("data"),
    out: Path = Path("runs/folds"),
    only: str | None = None,
    folds: OmitArgPrefixes[ClassifierFolds] = ClassifierFolds(),
    prediction: OmitArgPrefixes[PredictionSettings] = PredictionSettings(),
    settings: OmitArgPrefixes[ClassifierSettings] = FOLD_RECIPES["densenet121"],
) -> Answer:
    """Train a classifier for each fold of the labelled images, and predict with all of them.

    Every labelled image is predicted by the fold that did not learn it, the test images by the
    mean of the folds. The same command resumes a stopped run and skips what is done.

    Args:
        recipe: As for train-classifier.
        data: The atlas folder.
        out: The folder to write, with a run folder for each fold.
        only: Numbers of folds to train now, such as 1,2; all, unless given.
        folds: Who trains, and who is tested.
        prediction: Over which views of an image.
        settings: What is learned from what.
    """
    import pandas as pd

    from atlas.workflows.classify import training as workflow

    made = workflow.train_folds(data, out, settings, folds, prediction, only=only)
    columns, *rows = fold_cells(made)
    show_table(columns, rows, title="macro F1")
    print(f"kept epoch: {KEPT_EPOCHS[str(made['kept_epoch'].iloc[0])]}")
    print(
        "one threshold, and a threshold for each label: chosen on the same images, and so "
        "optimistic; others' thresholds: one for each label, chosen on the images of other folds"
    )
    done = [row for row in made.to_dict("records") if not pd.isna(row["tested_images"])]
    return Answer(
        summary=f"{sum(str(row['fold']).startswith('fold') for row in done)} folds are trained.",
        wrote=[out],
        next_command=following("make_submission", data=data, classifier=out),
        details={"folds": done},
    )


def predict(
    data: Path = Path("data"),
    classifier: Path = Path("runs/classifier"),
    only: str | None = None,
    split: Literal["test", "train", "external", "labelled", "all"] = "test",
    out: Path = Path("runs/probabilities.h5"),
    prediction: OmitArgPrefixes[PredictionSettings] = PredictionSettings(),
) -> Answer:
    """Predict a part of an atlas with a classifier, or with the mean of folds.

    What was predicted before is kept, so a killed run continues and new images cost only their own.

    Args:
        data: The atlas folder.
        classifier: What train-classifier or train-folds wrote.
        only: Numbers of the folds to use, such as 1,3; all that are finished, unless given.
        split: Which images.
        out: The HDF5 file to write.
        prediction: Over which views of an image.
    """
    from atlas.workflows.classify import prediction as workflow

    made = workflow.predict(data, classifier, out, prediction, split=split, only=only)
    if made.learned:
        print(
            f"{made.learned} of the images trained one of these classifiers; for scores use its "
            "validation_probabilities.h5, or the folds' out_of_fold_probabilities.h5"
        )
    count = len(made.probabilities.ids)
    return Answer(
        summary=f"{count} images are predicted by {', '.join(made.classifiers)}.",
        wrote=[out],
        details={"images": count, "classifiers": made.classifiers, "learned": made.learned},
    )


def ensemble(
    members: tuple[Path, ...] = (Path("runs/folds"),),
    data: Path = Path("data"),
    out: Path = Path("runs/ensemble"),
    compare: bool = False,
    settings: OmitArgPrefixes[DecisionSettings] = DecisionSettings(),
) -> Answer:
    """Combine classifiers, choose thresholds, and report a macro F1 on images that had no say.

    The folder it writes goes wherever that of a classifier goes.

    Args:
        members: Run folders of train-classifier, train-folds or of this command, which were
            asked about the same held-out images; one will do, for its thresholds and priors.
        data: The atlas folder.
        out: The folder to write.
        compare: Also score every way of joining with every way of choosing thresholds.
        settings: How they are joined and decided by.
    """
    from atlas.workflows.classify import ensemble as workflow

    made = workflow.ensemble(data, members, out, settings, compare=compare)
    columns = (
        "members", "combined by", "thresholds", "priors", "nested (95% interval)", "optimistic",
        "optimism",
    )  # fmt: skip
    rows = []
    for row in made.table.to_dict("records"):
        nested = f"{row['nested']:.4f} ({row['low']:.4f} to {row['high']:.4f})"
        ways = (row["members"], row["how"], row["thresholds"], row["priors"])
        rows.append([*ways, nested, f"{row['optimistic']:.4f}", f"{row['optimism']:+.4f}"])
    show_table(columns, rows, title="macro F1 of held-out images")
    print(
        "nested: nothing that decides an image has seen it; optimistic: learned on the same images"
    )
    if made.without:
        print(f"too few images to fit anything to: {', '.join(made.without)}; the members' mean")
    return Answer(
        summary=made.summary,
        wrote=[out],
        next_command=following("make_submission", data=data, classifier=out),
        details={"ways": made.table.to_dict("records")},
    )


def pretrain_backbone(
    data: Path = Path("data"),
    out: Path = Path("runs/backbone"),
    settings: OmitArgPrefixes[PretrainingSettings] = USUAL,
) -> Answer:
    """Pre-train a backbone as an auto-encoder of the labelled images.

    No label is looked at. The same command resumes a stopped run. Trainings start from
    the backbone by --weights and the run folder.

    Args:
        data: The atlas folder.
        out: The run folder to write.
        settings: What is learned.
    """
    from atlas.workflows.classify import training

    made = training.pretrain_backbone(data, out, settings)
    print(f"started from {made.started_from}")
    words = ("--backbone", settings.backbone, "--channel-recipe", settings.channel_recipe)
    return Answer(
        summary=f"The auto-encoder's squared error on {len(made.split.validation_ids)} held-out "
        f"images is {made.mse:.6f}, where the mean of each channel has {made.mse_of_means:.6f}.",
        wrote=[out],
        next_command=following("train_classifier", *words, "--weights", str(out), data=data),
        details={"mse": made.mse, "mse_of_means": made.mse_of_means},
    )


def show_maps(
    data: Path = Path("data"),
    classifier: Path = Path("runs/classifier"),
    out: Path = Path("runs/maps"),
    maps: OmitArgPrefixes[MapSettings] = MapSettings(),
) -> Answer:
    """Draw where a classifier looks.

    For each label the images that it finds likeliest, their class activation maps beside them, and
    boxes around what speaks for the label.

    Args:
        data: The atlas folder.
        classifier: What train-classifier or train-folds wrote.
        out: The folder to write: a PNG for each label, and boxes.csv.
        maps: Which images, and what makes a box.
    """
    from atlas.workflows.classify import activation_pictures

    made = activation_pictures.show_maps(data, classifier, out, maps)
    if made.empty:
        print(f"{made.empty} maps are empty: nothing in the image speaks for the label")
    return Answer(
        summary=f"{made.maps} maps of {made.labels} labels are drawn, with {made.boxes} boxes in "
        f"pixels of images of {made.size_px} px.",
        wrote=[out],
        details={"maps": made.maps, "labels": made.labels, "boxes": made.boxes},
    )


def show_augmentation(
    data: Path = Path("data"),
    out: Path = Path("runs/augmentation.png"),
    image: str | None = None,
    seed: int = 0,
) -> Answer:
    """Draw what each augmentation makes of one image.

    Args:
        data: The atlas folder.
        out: The PNG to write.
        image: An id of the atlas; the first, unless given.
        seed: Of the draws.
    """
    from atlas.workflows.classify import augmentation_picture

    shown = augmentation_picture.show_augmentation(data, out, image_id=image, seed=seed)
    return Answer(
        summary=f"The picture shows what training draws of {shown}.", wrote=[out], page=out
    )


def fold_cells(table: "pd.DataFrame") -> list[list[str]]:
    """A heading, then a row of texts for each row of summary.csv."""
    import pandas as pd

    from classify.folds import SCORES

    rows = [["", "train/test", *SCORES.values()]]
    for row in table.to_dict("records"):
        counts = [row["training_images"], row["tested_images"]]
        sides = "/".join("-" if pd.isna(count) else str(count) for count in counts)
        scores = ["-" if pd.isna(row[name]) else f"{row[name]:.4f}" for name in SCORES]
        rows.append([str(row["fold"]), sides, *scores])
    return rows


def _of_classifier(trained: "TrainedClassifier") -> Iterator[str]:
    """Yield where the classifier started, its images, and its scores."""
    classifier, split, scores = trained.classifier, trained.split, trained.scores
    bare = len(trained.thresholds.without_positives)
    others = f"; {bare} labels are not among them" if bare else ""
    yield f"started from {classifier.started_from}"
    yield (
        f"{len(split.training_ids)} images in training, {len(split.validation_ids)} held out, "
        f"{classifier.image_size_px} px, {len(classifier.channels)} channels"
    )
    yield "macro F1 on the hold-out:"
    yield f"  {scores.at_half:.4f}  a threshold of 0.5"
    overall = f"one threshold for all labels, {trained.thresholds.overall:.4f}"
    yield f"  {scores.at_overall_threshold:.4f}  {overall}"
    yield (
        f"  {scores.at_class_thresholds:.4f}  a threshold for each label (optimistic: these same images "
        f"chose the thresholds{others})"
    )
