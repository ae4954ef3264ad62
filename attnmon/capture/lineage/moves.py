"""How a tensor's elements were moved since a projection made them, as autograd has noted it.

Cheap enough for every capture, where following a forward is not. A model that folds its heads in
another order than when it was followed has moved them otherwise, by which it is noticed.
"""

from typing import Any

from torch import Tensor

Moves = tuple[tuple[object, ...], ...]

MOST_STEPS = 64
"""Of a tensor that took more steps nothing is told."""

_MOVES = {
    "PermuteBackward0": ("_saved_dims",),
    "TransposeBackward0": ("_saved_dim0", "_saved_dim1"),
    "CatBackward0": ("_saved_dim",),
    "StackBackward0": ("_saved_dim",),
    "UnbindBackward0": ("_saved_dim",),
    "SplitBackward0": ("_saved_dim",),
    "SplitWithSizesBackward0": ("_saved_dim",),
    "FlipBackward0": ("_saved_dims",),
}
"""Steps that move elements, and what of them is told: no sizes, which change with the batch."""

_BEGINNINGS = frozenset(
    {"AddmmBackward0", "MmBackward0", "LinearBackward0", "ConvolutionBackward0",
     "EmbeddingBackward0", "NativeLayerNormBackward0", "AccumulateGrad"}
)  # fmt: skip


def moves_of(tensor: Tensor | None) -> Moves:
    """Return the moves since the latest projections; empty if there are none or none is known.

    Nothing is known without gradients.
    """
    step = None if tensor is None else tensor.grad_fn
    steps: list[Any] = [] if step is None else [step]
    moves, seen = [], {id(step)}
    for step in steps:  # it grows
        name = step.name()
        if name in _MOVES:
            moves.append((name, *(getattr(step, detail) for detail in _MOVES[name])))
        if name in _BEGINNINGS:
            continue
        for before, _ in step.next_functions:
            if before is not None and id(before) not in seen:
                seen.add(id(before))
                steps.append(before)
        if len(steps) > MOST_STEPS:
            return ()
    return tuple(moves)
