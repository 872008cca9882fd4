"""A recipe is the default that the command line overrides."""

from dataclasses import replace
from typing import Any

import pytest

from atlas.cli.commands import understood
from atlas.cli.options import RECIPES_OF
from atlas.core.errors import UserError
from atlas.training.settings import TrainingSettings
from classify.losses.terms import LossTerm, parse_loss
from classify.recipes import RECIPES as CLASSIFIERS
from retrieval.settings import NAMED_LOSSES
from retrieval.settings import RECIPES as EMBEDDERS

BCE = (LossTerm(name="bce"),)


def settings(command: str, words: str, *loss: str) -> Any:
    """What the command would be called with; `loss` may hold spaces."""
    return understood(command, [*words.split(), *loss]).options["settings"]


@pytest.mark.parametrize("command", RECIPES_OF)
def test_without_options_a_recipe_is_taken_as_it_is(command: str) -> None:
    for name, recipe in RECIPES_OF[command].items():
        for words in (name, f"{name} --data smoke", f"--data=card --out smoke {name}"):
            assert settings(command, words) == recipe


def test_the_value_of_an_option_is_no_recipe() -> None:
    assert settings("train_embedder", "--out smoke") == EMBEDDERS["card"]
    assert settings("train_classifier", "--data smoke --out gapnet") == CLASSIFIERS["densenet121"]


def test_folds_keep_the_last_epoch_unless_asked_otherwise() -> None:
    assert CLASSIFIERS["smoke"].kept_epoch == "best"
    assert settings("train_folds", "smoke").kept_epoch == "last"
    assert settings("train_folds", "smoke --kept-epoch best") == CLASSIFIERS["smoke"]


def test_a_rate_replaces_the_steps_of_the_recipe() -> None:
    recipe = CLASSIFIERS["densenet121"]
    assert recipe.training.lr_steps
    same_rate = settings("train_classifier", f"--learning-rate {recipe.training.learning_rate}")
    assert same_rate == replace(recipe, training=replace(recipe.training, lr_steps=()))
    given = settings("train_classifier", "--learning-rate 1e-3 --lr-steps 2 1e-4 4 1e-5")
    assert given.training.lr_steps == ((2, 1e-4), (4, 1e-5))
    assert settings("train_classifier", "--schedule cosine").training.lr_steps == ()


def test_what_belongs_to_a_schedule_or_an_optimizer_goes_with_it() -> None:
    recipe = CLASSIFIERS["gapnet_pl"].training
    assert (recipe.optimizer, recipe.schedule) == ("sgd", "plateau")
    assert settings("train_classifier", "gapnet_pl --epochs 500").training == recipe
    other = settings("train_classifier", "gapnet_pl --optimizer adam --schedule cosine").training
    assert other.momentum == TrainingSettings.momentum
    assert other.plateau_patience == TrainingSettings.plateau_patience
    two = CLASSIFIERS["gapnet"].training
    assert (two.schedule, two.cosine_cycles) == ("cosine", 2)
    assert settings("train_classifier", "gapnet --schedule constant").training.cosine_cycles == 1
    assert settings("train_classifier", "gapnet --epochs 8").training == replace(two, epochs=8)
    slower = settings("train_classifier", "gapnet_pl --optimizer sgd --momentum 0.5").training
    assert slower == replace(recipe, momentum=0.5)


def test_a_given_loss_replaces_all_that_the_recipe_says_of_losses() -> None:
    recipe = CLASSIFIERS["gapnet"]
    plain = replace(recipe, loss=BCE, later_loss=(), later_loss_after=None, positive_weight=None)
    assert settings("train_classifier", "gapnet --loss bce") == plain
    counted = settings("train_classifier", "gapnet --positive-weight counts")
    assert counted == replace(recipe, positive_weight="counts")
    phased = settings(
        "train_classifier", "gapnet --loss bce --later-loss-after 0.5", "--later-loss",
        "0.5 focal + bce",
    )  # fmt: skip
    later = parse_loss("0.5 focal + bce")
    assert phased == replace(plain, later_loss=later, later_loss_after=0.5)


def test_a_loss_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(UserError, match=r'^loss "f1": no loss is called f1'):
        settings("train_classifier", "--loss bce --later-loss f1 --later-loss-after 0.5")


def test_a_loss_of_an_embedder_is_the_usual_one_of_its_name() -> None:
    assert settings("train_embedder", "winner --loss cosface") == replace(
        EMBEDDERS["winner"], loss=NAMED_LOSSES["cosface"]
    )
    similar = settings("train_embedder", "--classes label-similarity")
    assert similar.loss == NAMED_LOSSES["supervised_contrastive"]
    with pytest.raises(UserError, match="label-similarity has no classes for triplet"):
        settings("train_embedder", "--classes label-similarity --loss triplet")


def test_what_cannot_work_together_is_refused_all_at_once() -> None:
    with pytest.raises(UserError, match=r"epochs .*got 0.*size 8 px.*hold-out share .*got 2"):
        settings("train_classifier", "--epochs 0 --image-size-px 8 --hold-out-share 2")
