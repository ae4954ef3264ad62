"""Where each layer's tensors hold samples and heads, as a forward that was followed has shown."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from attnmon.capture import CallInfo, Layout
from attnmon.layers.layer_numbering import LayerKey
from attnmon.layers.module_order import pattern_of

MOST_TIMES_STALE = 2
"""Layouts that did not fit, after which each forward is followed."""
FOLLOWED_FIRST = 3
"""Forwards of several samples that are followed, to see whether their order stays the same."""


class LayoutRegistry:
    """The layouts of one model's layers, and when a forward has to be followed to find them.

    Of one sample alone the order of samples is not known: its layouts serve for one sample only.
    """

    def __init__(self) -> None:
        self._of_batch: dict[LayerKey, Layout | str] = {}
        self._of_one: dict[LayerKey, Layout | str] = {}
        self._followed: Counter[bool] = Counter()
        """Times that forwards of each kind were followed: True for those of one sample."""
        self._found: dict[tuple[int, str, int], Layout | str | None] = {}
        self._times_stale = 0
        self._is_reordered = False

    def has_to_follow(self, samples: int) -> bool:
        """Return whether a forward of so many samples is to be followed: too few like it were.

        A model whose layouts keep changing, as with windows of another number for each length or
        samples that are shuffled, is followed each time.
        """
        is_known = self._followed[False] >= FOLLOWED_FIRST or (samples == 1 and self._is_known)
        keeps_changing = self._is_reordered or self._times_stale >= MOST_TIMES_STALE
        return not is_known or keeps_changing

    def add(self, call_infos: Iterable[CallInfo], samples: int) -> None:
        """Add what a followed forward of so many samples has shown."""
        self._followed[samples == 1] += 1
        self._found.clear()
        known = self._layouts(samples)
        for info in call_infos:
            if info.layout is not None:
                before = known.get((info.name, info.call_index))
                is_other = isinstance(before, Layout) and not before.is_like(info.layout)
                known[info.name, info.call_index] = info.layout
                self._is_reordered |= info.layout.is_reordered or is_other

    def refuse(self, key: LayerKey, reason: str) -> None:
        """Note that this call makes no map of one sample's positions."""
        self._of_batch[key] = self._of_one[key] = reason
        self._found.clear()

    def is_refused(self, key: LayerKey) -> bool:
        """Return whether this call is known to make no map of one sample's positions."""
        return isinstance(self._of_batch.get(key), str)

    def has_refused(self, name: str) -> bool:
        """Return whether a call of this module is known to make no such map."""
        return any(key[0] == name and self.is_refused(key) for key in self._of_batch)

    def follow_again(self) -> None:
        """Have the next forward followed: a layout did not fit any more."""
        self._followed.clear()
        self._times_stale += 1

    def find(self, samples: int, name: str, call_index: int) -> Layout | str | None:
        """Return the layout of a call in a forward of so many samples, or why it is refused.

        That of a module of the same pattern, if this one was not called then; None if unknown.
        samples: 0 for as many as the tensors hold.
        """
        place = samples, name, call_index
        if place not in self._found:
            self._found[place] = self._find(samples, name, call_index)
        return self._found[place]

    def _find(self, samples: int, name: str, call_index: int) -> Layout | str | None:
        known, pattern = self._layouts(samples), pattern_of(name)
        found = known.get((name, call_index))
        alike = (other for key, other in known.items() if pattern_of(key[0]) == pattern)
        found = next(alike, None) if found is None else found
        if isinstance(found, Layout) and found.batch_dim is not None:
            return replace(found, samples=samples)
        return found

    @property
    def _is_known(self) -> bool:
        return self._followed.total() > 0

    def _layouts(self, samples: int) -> dict[LayerKey, Layout | str]:
        is_of_one = samples == 1 and not self._followed[False]
        return self._of_one if is_of_one else self._of_batch
