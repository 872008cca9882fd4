"""Settings that are one word on the command line, though they are more than one value."""

from typing import get_args

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from classify.losses.terms import LossSum, parse_loss
from retrieval.settings import NAMED_LOSSES, LossSettings

REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def embedder_loss(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[LossSettings] | None:
    """A loss of an embedder is one of NAMED_LOSSES."""
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
def classifier_loss(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[LossSum] | None:
    """A loss of a classifier is a weighted sum, as `parse_loss` reads it."""
    if get_args(info.type) != get_args(LossSum):  # the type itself may be typing.Tuple
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="SUM",
        instance_from_str=lambda words: parse_loss(words[0]),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda loss: [" + ".join(map(str, loss)) or "none"],
    )


def _described(loss: LossSettings) -> str:
    """The name, with what differs from the usual loss of that name."""
    usual = vars(NAMED_LOSSES[loss.name])
    own = (f"{name} {value:g}" for name, value in vars(loss).items() if value != usual[name])
    return ", ".join([loss.name, *own])
