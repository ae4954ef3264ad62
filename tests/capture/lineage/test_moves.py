"""How tensors were moved, as autograd has noted it."""

import torch
from torch import nn

from attnmon.capture.lineage.moves import MOST_STEPS, moves_of

LINEAR = nn.Linear(8, 8)
X = torch.randn(3, 5, 8)


def test_moves_since_the_latest_projection_are_told_without_sizes() -> None:
    moved = LINEAR(LINEAR(X).transpose(0, 1)).unflatten(-1, (2, 4)).permute(0, 2, 1, 3)
    assert moves_of(moved * 2) == (("PermuteBackward0", (0, 2, 1, 3)),)
    assert moves_of(LINEAR(X[:2]).unflatten(-1, (2, 4)).permute(0, 2, 1, 3)) == moves_of(moved)


def test_what_moves_nothing_makes_no_difference() -> None:
    one = LINEAR(X).transpose(1, 2)
    assert moves_of((one + 1).relu().contiguous()) == moves_of(one) != ()


def test_nothing_is_told_of_what_autograd_has_not_noted() -> None:
    with torch.no_grad():
        assert moves_of(LINEAR(X).transpose(1, 2)) == ()
    long = LINEAR(X).transpose(1, 2)
    for _ in range(MOST_STEPS):
        long = long + 1
    assert moves_of(long) == moves_of(None) == ()
