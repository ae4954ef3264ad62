"""What a torch function does to an attention map on its way: the few kinds that matter here."""

from collections.abc import Callable
from enum import Enum, auto
from functools import cache
from typing import Any


class Operation(Enum):
    """Kinds of functions, by what becomes of the scores or weights given to them."""

    PRODUCT = auto()
    """Scores are made by one of these, and weights used up by another."""
    SOFTMAX = auto()
    ELEMENTWISE = auto()
    """Other numbers at the same places, or some places more or fewer."""
    RESHAPE = auto()
    """The same numbers in the same order."""
    TURN = auto()
    """Dimensions change places."""
    DROPOUT = auto()


_NAMES = {
    Operation.PRODUCT: "matmul bmm baddbmm mm einsum linalg_matmul",
    Operation.SOFTMAX: "softmax special_softmax safe_softmax",
    Operation.ELEMENTWISE: (
        "add sub subtract rsub mul multiply div divide true_divide rdiv neg tanh addcmul "
        "masked_fill masked_scatter where clamp clamp_min clamp_max clip maximum minimum tril triu "
        "cat concat concatenate pad getitem narrow index_select nan_to_num normalize "
        "to type type_as float double half bfloat16 contiguous clone detach data"
    ),
    Operation.RESHAPE: (
        "view reshape flatten unflatten unsqueeze squeeze expand expand_as view_as reshape_as"
    ),
    Operation.TURN: "transpose permute swapaxes swapdims movedim t T mT",
    Operation.DROPOUT: "dropout",
}
_OPERATIONS = {name: kind for kind, names in _NAMES.items() for name in names.split()}


@cache
def operation_of(function: Callable[..., Any]) -> Operation | None:
    """The kind, or None for a function that carries no attention map from its inputs on."""
    return _OPERATIONS.get(plain_name(function))


def plain_name(function: Callable[..., Any]) -> str:
    """The operation's name without what tells its spellings apart.

    ``Tensor.mul``, ``mul_``, ``torch.mul`` and ``torch.ops.aten.mul.Tensor`` are all "mul"; a
    property's getter goes by the property's name.
    """
    name = getattr(function, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(function, "__self__", None), "__name__", "")
    return str(name).split(".")[0].strip("_")
