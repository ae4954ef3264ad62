"""Tells the calls of one module that are each for another part of the inputs.

Packed samples, items of a list, frames and chunks are often attended to one after the other, in one
module. Such calls are no layers.
"""

from attnmon.capture.lineage.element_labels import UNKNOWN, Label, Labels

Places = tuple[frozenset[int], ...]
"""The places of a call's queries in the inputs' first and second dimension, and their inputs."""


class CallParts:
    """The parts of the inputs that each module's calls were for, in one forward."""

    def __init__(self) -> None:
        self.divided: set[str] = set()
        """Modules with calls that have no place in common."""
        self._places: dict[str, Places] = {}

    def add(self, module: str, labels: Labels) -> None:
        """Add a call, by the labels of its scores."""
        scores = labels.scores
        is_of_samples = scores is not None and any(scores.is_of_one_sample)
        source = None if is_of_samples else labels.source
        places = tuple(map(_places, (labels.first, labels.second, source)))
        before = self._places.setdefault(module, places)
        if any(
            one and other and not one & other for one, other in zip(before, places, strict=True)
        ):
            self.divided.add(module)


def _places(label: Label) -> frozenset[int]:
    return frozenset(() if label is None else label.flatten().tolist()) - {UNKNOWN}
