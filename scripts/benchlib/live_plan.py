"""Which runs a live benchmark makes, one after the other, and how long each is."""

from collections.abc import Iterator
from typing import NamedTuple

TURNS = ("none", "attnmon", "thread_pool", "none", "in_loop", "none")
"""The order of the runs; those without a monitor lie around the others, in case of a drift."""
SHARE_OF_OTHERS = 4
"""The other runs are so many times shorter than attnmon's, whose pictures are to stay fresh."""
SHARE_OF_SPARE = 3
"""With a core to spare all are so many times shorter again: nothing waits for anything there."""


class Turn(NamedTuple):
    """One run: which design draws, on how many cores torch computes, and for how long."""

    regime: str
    design: str
    seconds: float


def turns(regimes: list[str], seconds: float) -> Iterator[Turn]:
    """Yield all runs. seconds: of attnmon's with every core busy."""
    for regime in regimes:
        longest = seconds if regime == "saturated" else seconds / SHARE_OF_SPARE
        for design in TURNS:
            length = longest if design == "attnmon" else longest / SHARE_OF_OTHERS
            yield Turn(regime, design, length)
