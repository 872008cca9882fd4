"""Classifiers: train, predict and combine them, and show what they see."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import OmitArgPrefixes, Positional

from atlas.cli.answers import Answer, following
from atlas.cli.console import show, show_table
from atlas.core.execution import LOCAL, ExecutionSettings
from atlas.workflows.settings import ClassifierFolds, MapSettings
from classify.decisions.settings import DecisionSettings
from classify.recipes import FOLD_RECIPES, RECIPES, Recipe
from classify.settings import USUAL, ClassifierSettings, PredictionSettings, PretrainingSettings

if TYPE_CHECKING:
    import pandas as pd

    from classify.held_out import TrainedClassifier

KEPT_EPOCHS = {
    "last": "the last epoch is kept, so the tested images influenced only thresholds",
    "best": "the best epoch on the tested images is kept, so the scores of folds are optimistic",
}


def train_classifier(
    recipe: Positional[Recipe] = "densenet121",
    data: Path = Path("data"),
    out: Path = Path("runs/classifier"),
    settings: OmitArgPrefixes[ClassifierSettings] = RECIPES["densenet121"],
) -> Answer:
    """Train a classifier on the labelled images, and predict the test images.

    Run the same command again to resume a stopped run. Options that you do not give are those of
    the recipe.

    Args:
        recipe: Recipe that sets the defaults of all options: densenet121 is the winner's of 2018,
            smoke is small and quick, and the others follow other networks of that time.
        data: Atlas folder.
        out: Run folder to write.
        settings: Settings of the training.
    """
    from atlas.workflows.classify import training

    run = training.train_classifier(data, out, settings)
    show("\n".join(_of_classifier(run.trained)))
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

    Every labelled image is predicted by the fold that was not trained on it, and test images are
    predicted by the mean of the folds. Run the same command again to resume a stopped run; finished
    folds are skipped.

    Args:
        recipe: Recipe that sets the defaults of all options, as for train-classifier.
        data: Atlas folder.
        out: Folder to write, with a run folder for each fold.
        only: Train only these folds, given by number, such as 1,2. By default all are trained.
        folds: Settings of the folds.
        prediction: Settings of the prediction.
        settings: Settings of the training.
    """
    import pandas as pd

    from atlas.workflows.classify import training as workflow
    from classify.folds import OTHERS, SCORES

    made = workflow.train_folds(data, out, settings, folds, prediction, only=only)
    columns, *rows = fold_cells(made)
    show_table(columns, rows, title="Macro F1")
    show(f"kept epoch: {KEPT_EPOCHS[str(made['kept_epoch'].iloc[0])]}")
    show(
        f'The columns "{SCORES["at_overall_threshold"]}" and "{SCORES["at_class_thresholds"]}" '
        "are optimistic, because the thresholds are chosen on the same images. The column "
        f'"{SCORES[OTHERS]}" uses a threshold for each label that is chosen on other folds.'
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
    execution: OmitArgPrefixes[ExecutionSettings] = LOCAL,
) -> Answer:
    """Predict images of an atlas with a classifier, or with the mean of folds.

    Finished predictions are kept, so a stopped run is resumed and later only new images cost time.

    Args:
        data: Atlas folder.
        classifier: Folder of a classifier or of folds, as train-classifier or train-folds writes
            it.
        only: Use only these folds, given by number, such as 1,3. By default all finished folds are
            used.
        split: Images to predict.
        out: HDF5 file to write.
        prediction: Settings of the prediction.
        execution: Settings of where the long work runs.
    """
    from atlas.workflows.classify import prediction as workflow

    made = workflow.predict(
        data, classifier, out, prediction, split=split, only=only, execution=execution
    )
    if made.learned:
        show(
            f"At least one of these classifiers was trained on {made.learned} of the images. For "
            "scores, use its validation_probabilities.h5, or the folds' "
            "out_of_fold_probabilities.h5."
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
    """Combine classifiers, choose thresholds, and measure macro F1 on independent images.

    The folder that is written can be used wherever that of a classifier can.

    Args:
        members: Folders of train-classifier, train-folds or this command, with predictions of the
            same held-out images. A single folder is allowed, to choose its thresholds and class
            priors.
        data: Atlas folder.
        out: Folder to write.
        compare: Also score every way of combining with every way of choosing thresholds.
        settings: Settings of the combination.
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
    show_table(columns, rows, title="Macro F1 of held-out images")
    show(
        "The nested score of an image uses nothing that was fitted to this image; the optimistic "
        "score is fitted and measured on the same images."
    )
    if made.without:
        show(
            f"These labels have too few images to fit anything and take the members' mean: "
            f"{', '.join(made.without)}"
        )
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
    """Pre-train a backbone as an auto-encoder of the labelled images, without their labels.

    Run the same command again to resume a stopped run. To start a training from the backbone, give
    it the run folder with --weights.

    Args:
        data: Atlas folder.
        out: Run folder to write.
        settings: Settings of the training.
    """
    from atlas.workflows.classify import training

    made = training.pretrain_backbone(data, out, settings)
    show(f"started from {made.started_from}")
    words = ("--backbone", settings.backbone, "--channel-recipe", settings.channel_recipe)
    return Answer(
        summary=f"The mean squared error of the auto-encoder on {len(made.split.validation_ids)} "
        f"held-out images is {made.mse:.6f}; that of the channel means is {made.mse_of_means:.6f}.",
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
    """Draw where a classifier looks: class activation maps of its most likely images.

    For each label, the images with the highest probability are drawn with their maps, and with
    boxes around the pixels that support the label.

    Args:
        data: Atlas folder.
        classifier: Folder of a classifier or of folds, as train-classifier or train-folds writes
            it.
        out: Folder to write, with a PNG for each label and boxes.csv.
        maps: Settings of the maps.
    """
    from atlas.workflows.classify import activation_pictures

    made = activation_pictures.show_maps(data, classifier, out, maps)
    if made.empty:
        show(f"{made.empty} maps are empty, because no pixels of the image support the label")
    return Answer(
        summary=f"{made.maps} maps of {made.labels} labels are drawn, with {made.boxes} boxes; "
        f"boxes.csv gives them in pixels of images with a side of {made.size_px} px.",
        wrote=[out],
        details={"maps": made.maps, "labels": made.labels, "boxes": made.boxes},
    )


def show_augmentation(
    data: Path = Path("data"),
    out: Path = Path("runs/augmentation.png"),
    image: str | None = None,
    seed: int = 0,
) -> Answer:
    """Draw what each augmentation does to an image.

    Args:
        data: Atlas folder.
        out: PNG to write.
        image: Id of the image. By default the first image of the atlas is drawn.
        seed: Seed of the random changes.
    """
    from atlas.workflows.classify import augmentation_picture

    shown = augmentation_picture.show_augmentation(data, out, image_id=image, seed=seed)
    return Answer(
        summary=f"The picture shows the augmentations of image {shown}.", wrote=[out], page=out
    )


def fold_cells(table: "pd.DataFrame") -> list[list[str]]:
    """Return a heading, and a row of texts for each row of summary.csv."""
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
    """Yield the origin of the weights, the number of images, and the scores."""
    classifier, split, scores = trained.classifier, trained.split, trained.scores
    bare = len(trained.thresholds.without_positives)
    others = f"; {bare} labels are on none of these images" if bare else ""
    yield f"started from {classifier.started_from}"
    yield (
        f"{len(split.training_ids)} images in training, {len(split.validation_ids)} held out, "
        f"{classifier.image_size_px} px, {len(classifier.channels)} channels"
    )
    yield "macro F1 on the held-out images:"
    yield f"  {scores.at_half:.4f}  with a threshold of 0.5"
    overall = f"with one threshold for all labels ({trained.thresholds.overall:.4f})"
    yield f"  {scores.at_overall_threshold:.4f}  {overall}"
    yield (
        f"  {scores.at_class_thresholds:.4f}  with a threshold for each label (optimistic, because "
        f"the thresholds are chosen on the same images{others})"
    )
