"""Settings are the options of a command, and a recipe gives their defaults.

The name of the recipe is read before the options, which are then parsed with its settings as
defaults, so `--help` shows its values. Some values of a recipe belong to an option, such as the
steps of a learning rate; they apply only if that option is not given. A loss is one word on the
command line, although it has several values.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial, wraps
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from tyro.conf import FlagCreatePairsOff, arg
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from atlas.training.settings import TRAINING_COMPANIONS, TrainingSettings
from classify.losses.terms import LossSum, parse_loss
from classify.recipes import FOLD_RECIPES
from classify.recipes import RECIPES as CLASSIFIERS
from classify.settings import CLASSIFIER_COMPANIONS, ClassifierSettings
from retrieval.settings import NAMED_LOSSES, SIMILARITY_LOSS, EmbedderSettings, LossSettings
from retrieval.settings import RECIPES as EMBEDDERS

if TYPE_CHECKING:
    from atlas.cli.answers import Answer

Trained = EmbedderSettings | ClassifierSettings
Settings = TypeVar("Settings", EmbedderSettings, ClassifierSettings, TrainingSettings)

REGISTRY = ConstructorRegistry()  # the rules by which losses are read

# The commands that take the name of a recipe.
RECIPES_OF: Mapping[str, Mapping[Any, Trained]] = {
    "train_embedder": EMBEDDERS,
    "cross_validate": EMBEDDERS,
    "compare_losses": EMBEDDERS,
    "train_classifier": CLASSIFIERS,
    "train_folds": FOLD_RECIPES,
}


def default_settings(command: str, words: Sequence[str], *, usual: str) -> Trained:
    """Return the settings that are the defaults of a command's options.

    Args:
        command: One of RECIPES_OF.
        words: The words that follow the name of the command.
        usual: The recipe that is used if the words name none.
    """
    recipes = RECIPES_OF[command]
    settings = recipes[_recipe_in(words, recipes) or usual]
    given = _given_options(words)
    training = _without_companions(settings.training, TRAINING_COMPANIONS, given)
    if isinstance(settings, ClassifierSettings):
        settings = _without_companions(settings, CLASSIFIER_COMPANIONS, given)
        return replace(settings, training=training)
    if given.get("classes") == "label-similarity":  # only one loss can be trained with it
        loss = NAMED_LOSSES[SIMILARITY_LOSS]
        settings = replace(settings, classes="label-similarity", loss=loss)
    return replace(settings, training=training)


def _recipe_in(words: Sequence[str], recipes: Mapping[Any, Trained]) -> str | None:
    """Return the first word that names a recipe and is not the value of an option."""
    for before, word in pairwise(["", *words]):
        is_value = before.startswith("--") and "=" not in before and before != "--help"
        if word in recipes and not is_value:
            return word
    return None


def _given_options(words: Sequence[str]) -> dict[str, str]:
    """Return the options that the words name, as names of fields, each with its first value."""
    given = {}
    for word, after in pairwise([*words, ""]):
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            given[name.replace("-", "_")] = value or after
    return given


def _without_companions(
    settings: Settings, companions: Mapping[str, Sequence[str]], given: Mapping[str, str]
) -> Settings:
    """Return the settings with the usual values of everything that belongs to given options."""
    usual: dict[str, Any] = {field.name: field.default for field in fields(settings)}
    dropped = {name for option in given for name in companions.get(option, ())}
    return replace(settings, **{name: usual[name] for name in dropped})


@REGISTRY.primitive_rule
def _embedder_loss(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[LossSettings] | None:
    """Read the loss of an embedder, which is one of NAMED_LOSSES."""
    if info.type is not LossSettings:
        return None
    losses = {str(name): loss for name, loss in NAMED_LOSSES.items()}
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(losses)}}}",
        choices=tuple(losses),
        instance_from_str=lambda words: losses[words[0]],
        is_instance=lambda value: isinstance(value, LossSettings),
        str_from_instance=lambda loss: [_described(loss)],
    )


@REGISTRY.primitive_rule
def _classifier_loss(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[LossSum] | None:
    """Read the loss of a classifier, which is a weighted sum as in `parse_loss`."""
    if get_args(info.type) != get_args(LossSum):  # the type may also be typing.Tuple
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="SUM",
        instance_from_str=lambda words: parse_loss(words[0]),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda loss: [" + ".join(map(str, loss)) or "none"],
    )


def _described(loss: LossSettings) -> str:
    """Return the name of the loss, with all values that differ from the usual ones."""
    usual = vars(NAMED_LOSSES[loss.name])
    own = (f"{name} {value:g}" for name, value in vars(loss).items() if value != usual[name])
    return ", ".join([loss.name, *own])


# Every command has this option, beside its own.
AsJson = Annotated[
    bool,
    FlagCreatePairsOff,
    arg(help="Print only the result, as one JSON object; everything else goes to stderr."),
]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A command with the values of its options, ready to be called."""

    command: "partial[Answer]"
    as_json: bool

    @property
    def options(self) -> Mapping[str, Any]:
        """The values of the command's own options, by name."""
        return self.command.keywords


def with_options(command: "Callable[..., Answer]") -> Callable[..., Call]:
    """Return the function that tyro calls instead of a command: the same options, and --json."""

    @wraps(command)
    def call(*args: Any, json: bool = False, **options: Any) -> Call:
        return Call(command=partial(command, *args, **options), as_json=json)

    own = inspect.signature(command)
    as_json = inspect.Parameter(
        "json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson
    )
    call.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*own.parameters.values(), as_json]
    )
    call.__annotations__ = {**command.__annotations__, "json": AsJson}
    del call.__wrapped__  # tyro would look at the command instead
    return call
