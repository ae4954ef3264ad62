"""Classifies torch functions by what they do to attention scores and weights."""

from collections.abc import Callable
from enum import Enum, auto
from functools import cache
from typing import Any

from attnmon.capture.lineage.function_calls import SOFTMAXES, base_name, words


class Operation(Enum):
    """Kinds of torch functions, by what they do to scores or weights."""

    PRODUCT = auto()
    """Makes scores from query and key, or the output from weights and value."""
    PROJECTION = auto()
    """Makes new features by a parameter: what was computed before is not used any more."""
    SOFTMAX = auto()
    """Makes weights from scores."""
    ELEMENTWISE = auto()
    """Changes the numbers but not their positions, except that some may be added or removed."""
    RESHAPE = auto()
    """Keeps the numbers in the same order, with other dimensions."""
    PERMUTE = auto()
    """Changes the order of dimensions."""
    INVERSE = auto()
    """Inverts a matrix: of weights, that is no map of its own."""
    DROPOUT = auto()
    """Sets some numbers to 0 at random and scales the others."""


_NAMES = {
    Operation.PRODUCT: words("matmul bmm baddbmm mm einsum linalg_matmul"),
    Operation.PROJECTION: words("linear addmm conv1d conv2d conv3d"),
    Operation.SOFTMAX: SOFTMAXES,
    Operation.ELEMENTWISE: words(
        "add sub subtract rsub mul multiply div divide true_divide rdiv neg tanh addcmul "
        "masked_fill masked_scatter where clamp clamp_min clamp_max clip maximum minimum tril triu "
        "cat concat concatenate pad getitem narrow index_select nan_to_num normalize "
        "to type type_as float double half bfloat16 contiguous clone detach data"
    ),
    Operation.RESHAPE: words(
        "view reshape flatten unflatten unsqueeze squeeze expand expand_as view_as reshape_as"
    ),
    Operation.PERMUTE: words("transpose permute swapaxes swapdims movedim t T mT"),
    Operation.INVERSE: words("pinverse linalg_pinv inverse linalg_inv"),
    Operation.DROPOUT: words("dropout"),
}
CHANGES = words("add sub subtract rsub mul multiply div divide true_divide rdiv addcmul where tanh")
"""Elementwise functions after which weights are others; a mask or a cast is no such function."""
_OPERATIONS = {name: kind for kind, names in _NAMES.items() for name in names}


@cache
def operation_of(function: Callable[..., Any]) -> Operation | None:
    """Returns the kind; None for a function through which scores and weights are not followed."""
    return _OPERATIONS.get(base_name(function))
