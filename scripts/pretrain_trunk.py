"""Pre-train a trunk as an auto-encoder of the labelled images."""

from dataclasses import replace
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from atlas.cli.console import run
from atlas.training.settings import TrainingOptions
from classify.settings import USUAL, PretrainingOptions


def main(
    data: Path = Path("data"),
    out: Path = Path("runs/trunk"),
    pretraining: OmitArgPrefixes[PretrainingOptions] = PretrainingOptions(),
    training: OmitArgPrefixes[TrainingOptions] = TrainingOptions(),
) -> None:
    """Pre-train a trunk as an auto-encoder of the labelled images.

    No label is looked at. The same command goes on where a stopped run was. Trainings start from
    the trunk by --weights and the run folder.

    Args:
        data: The atlas folder.
        out: The run folder to write.
        pretraining: What is learned.
        training: How it is learned.
    """
    from atlas.workflows.classify.training import pretrain_trunk

    settings = pretraining.applied_to(USUAL)
    settings = replace(settings, training=training.applied_to(settings.training))
    pretrain_trunk(data, out, settings)


if __name__ == "__main__":
    run(main)
