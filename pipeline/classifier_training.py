"""From a data folder to a trained classifier."""

from dataclasses import replace
from pathlib import Path

from atlas.errors import UserError
from atlas.manifest import Manifest, read_manifest
from atlas.store import ImageStore, fill_store, native_size_px
from classify import training
from classify.channels import mixing_of
from classify.held_out import TrainedClassifier
from classify.settings import ClassifierSettings, problems
from pipeline.classifier_curves import draw_curves


def train_classifier(data: Path, out: Path, settings: ClassifierSettings) -> TrainedClassifier:
    """Reads the atlas, fills its store beside `out`, trains there, and prints what came of it.

    Raises DataError for the data folder, UserError for settings that cannot work and where `out`
    holds another run.
    """
    manifest, store, settings = atlas_to_classify(data, out, settings)
    trained = training.train_classifier(manifest, store, settings, out)
    draw_curves(out, {out.name: out})
    print("\n".join(summary(trained, out)))
    return trained


def atlas_to_classify(
    data: Path, out: Path, settings: ClassifierSettings
) -> tuple[Manifest, ImageStore, ClassifierSettings]:
    """The atlas, its store beside `out`, and the settings with its size.

    Raises DataError for the data folder, UserError for settings that cannot work.
    """
    wrong = list(problems(settings))
    if wrong:
        raise UserError("; ".join(wrong))
    manifest = read_manifest(data)
    mixing_of(settings.channel_recipe, manifest.spec.channels)  # refused before any image is read
    size_px = settings.image_size_px or native_size_px(manifest)
    store = fill_store(manifest, out.parent / "store", size_px=size_px)
    return manifest, store, replace(settings, image_size_px=size_px)


def summary(trained: TrainedClassifier, out: Path) -> list[str]:
    """The lines to print: start, images, scores, files."""
    classifier, split, scores = trained.classifier, trained.split, trained.scores
    bare = len(trained.thresholds.without_positives)
    return [
        f"started from {classifier.started_from}",
        f"{len(split.training_ids)} images in training, {len(split.validation_ids)} held out, "
        f"{classifier.image_size_px} px, {len(classifier.channels)} channels",
        "macro F1 on the hold-out:",
        f"  {scores.at_half:.4f}  every cut .5",
        f"  {scores.at_overall_cut:.4f}  one cut for all labels, {trained.thresholds.overall:.4f}",
        f"  {scores.at_class_cuts:.4f}  a cut for each label (optimistic: these same images chose "
        f"the cuts{f'; {bare} labels are not among them' if bare else ''})",
        f"wrote {out}: weights, thresholds, curves, mistakes and probabilities of the hold-out"
        + (f" and of {trained.test_images} test images" if trained.test_images else ""),
    ]
