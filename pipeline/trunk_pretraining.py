"""From a data folder to a pre-trained trunk."""

from dataclasses import replace
from pathlib import Path

from atlas.errors import UserError
from atlas.manifest import read_manifest
from atlas.store import fill_store, native_size_px
from classify import pretraining
from classify.channels import mixing_of
from classify.pretraining import PretrainedTrunk
from classify.pretraining_settings import PretrainingSettings, problems


def pretrain_trunk(data: Path, out: Path, settings: PretrainingSettings) -> PretrainedTrunk:
    """Reads the atlas, fills its store beside `out`, trains there, and prints what came of it.

    Raises DataError for the data folder, UserError for settings that cannot work and where `out`
    holds another run.
    """
    if wrong := "; ".join(problems(settings)):
        raise UserError(wrong)
    manifest = read_manifest(data)
    mixing_of(settings.channel_recipe, manifest.spec.channels)  # refused before any image is read
    size_px = settings.image_size_px or native_size_px(manifest)
    store = fill_store(manifest, out.parent / "store", size_px=size_px)
    settings = replace(settings, image_size_px=size_px)
    made = pretraining.pretrain_trunk(manifest, store, settings, out)
    print("\n".join(summary(made, settings, out)))
    return made


def summary(made: PretrainedTrunk, settings: PretrainingSettings, out: Path) -> list[str]:
    """The lines to print: start, error, next step."""
    return [
        f"started from {made.started_from}",
        f"{len(made.split.training_ids)} images in training, {len(made.split.validation_ids)} held "
        f"out: squared error {made.mse:.6f}, where the mean of each channel has "
        f"{made.mse_of_means:.6f}",
        f"wrote {out}; next  python scripts/train_classifier.py --trunk {settings.trunk} "
        f"--channel-recipe {settings.channel_recipe} --weights {out}",
    ]
