"""Define named classifiers, each with the training of its authors as far as it is known."""

from dataclasses import replace
from typing import Literal

from atlas.training.settings import TrainingSettings
from classify.losses.terms import LossSum, LossTerm
from classify.settings import WINNER_LOSS, ClassifierSettings

Recipe = Literal[
    "densenet121", "gapnet_pl", "gapnet", "dual_decoder", "dual_segmentation", "finetune_resnet50",
    "finetune_vgg16", "finetune_inception_resnet_v2", "smoke",
]  # fmt: skip

BCE: LossSum = (LossTerm(name="bce"),)
BCE_AND_F1: LossSum = (LossTerm(name="bce"), LossTerm(name="soft_f1"))
# The 4th place used 4 times the cross-entropy, with positives times 10, minus the logarithm of F1.
WEIGHTED_BCE: LossSum = (LossTerm(name="weighted_bce", weight=4.0),)
WEIGHTED_BCE_AND_F1: LossSum = (*WEIGHTED_BCE, LossTerm(name="soft_f1"))
POSITIVES_TIMES = 10.0

# The student baseline. Its learning rate fell to a tenth after three epochs without a better
# validation loss; here macro F1 is used.
FINETUNE = ClassifierSettings(
    network="finetune",
    backbone="resnet50",
    channel_recipe="r+y_g+y_b",
    image_size_px=299,
    loss=BCE,
    training=TrainingSettings(
        epochs=10, batch_size=8, learning_rate=1e-4, schedule="plateau", plateau_patience=2
    ),
)
# The other network of the 4th place, in the first interpretation: it reconstructs the image.
DUAL_DECODER = ClassifierSettings(
    network="dual_decoder",
    backbone="resnet34",
    channel_recipe="rgb",
    hidden=256,
    auxiliary_weight=10.0,
    image_size_px=256,
    loss=BCE_AND_F1,
    training=TrainingSettings(epochs=20, batch_size=32, learning_rate=1e-4, schedule="cosine"),
)

RECIPES: dict[Recipe, ClassifierSettings] = {
    # The winner's single model. Its crops of 512 px from images of 768 px are not the default,
    # because most atlases have smaller images; give --image-size-px 768 --crop-px 512.
    "densenet121": ClassifierSettings(
        backbone="densenet121",
        loss=WINNER_LOSS,
        training=TrainingSettings(
            epochs=45,
            batch_size=32,
            learning_rate=3e-4,
            lr_steps=((25, 1.5e-4), (30, 7.5e-5), (35, 3e-5), (40, 1e-5)),
        ),
    ),
    # Rumetshofer et al. 2019, without their L1 penalty of 1e-7 and their crops of 1,024 px.
    "gapnet_pl": ClassifierSettings(
        network="gapnet_pl",
        backbone="gapnet_pl",
        hidden=256,
        dropouts=(0.3, 0.3),
        loss=BCE,
        training=TrainingSettings(
            epochs=500,
            batch_size=40,
            learning_rate=1e-2,
            optimizer="sgd",
            momentum=0.9,
            weight_decay=1e-5,
            schedule="plateau",
            plateau_factor=0.5,
            plateau_patience=30,
        ),
    ),
    # The 4th place's single model, in two stages of 20 epochs that both begin at the full rate. F1
    # is described as a fine-tuning after the cross-entropy; the published files have two such
    # stages, but use the sum in both. For their external images, give --external-share 0.5.
    "gapnet": ClassifierSettings(
        network="gapnet",
        backbone="resnet18",
        channel_recipe="rgb",
        hidden=256,
        loss=WEIGHTED_BCE,
        later_loss=WEIGHTED_BCE_AND_F1,
        later_loss_after=0.5,
        positive_weight=POSITIVES_TIMES,
        training=TrainingSettings(
            epochs=40,
            batch_size=32,
            learning_rate=5e-4,
            schedule="cosine",
            cosine_cycles=2,
            sampler="balanced",
        ),
    ),
    "dual_decoder": DUAL_DECODER,
    # The second interpretation: maps of the protein, 32 x 32 with 128 filters at 256 px. It had one
    # stage, with the sum from the first epoch on.
    "dual_segmentation": replace(
        DUAL_DECODER,
        network="dual_segmentation",
        auxiliary_weight=5.0,
        loss=WEIGHTED_BCE_AND_F1,
        positive_weight=POSITIVES_TIMES,
        training=TrainingSettings(
            epochs=20, batch_size=16, learning_rate=5e-4, schedule="cosine", sampler="balanced"
        ),
    ),
    # The student baseline's three backbones, with its first channel recipe.
    "finetune_resnet50": FINETUNE,
    "finetune_vgg16": replace(FINETUNE, backbone="vgg16"),
    # Their best backbone and channel recipe. They froze the backbone; here it is frozen for two
    # epochs only, because without pretrained weights it would stay random.
    "finetune_inception_resnet_v2": replace(
        FINETUNE,
        backbone="inception_resnet_v2",
        channel_recipe="b+y_r+y_g",
        training=replace(
            FINETUNE.training,
            epochs=20,
            batch_size=12,
            learning_rate=1e-3,
            backbone_rate_share=0.1,
            frozen_backbone_epochs=2,
        ),
    ),
    # Small enough for two cores without a GPU; checks that a folder works before a long training.
    "smoke": ClassifierSettings(
        backbone="test_resnet",
        stem="scaled",
        hidden=256,
        dropouts=(0.1, 0.25),
        image_size_px=64,
        training=TrainingSettings(
            epochs=30, batch_size=16, learning_rate=2e-3, lr_steps=((20, 5e-4),)
        ),
    ),
}

# Folds keep the last epoch, because the tested images of a fold must not influence training.
FOLD_RECIPES: dict[Recipe, ClassifierSettings] = {
    name: replace(settings, kept_epoch="last") for name, settings in RECIPES.items()
}
