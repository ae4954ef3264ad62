"""The layouts of a forward's layers: established by following its tensors, or known from before."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from attnmon.capture.calls.adapter import CallSite
from attnmon.capture.lineage.call_parts import CallParts
from attnmon.capture.lineage.element_labels import Labels
from attnmon.capture.lineage.layout import Layout, RefusedLayout, establish, join_notes
from attnmon.capture.lineage.moves import moves_of
from attnmon.capture.lineage.tracker import Lineage
from attnmon.capture.model.inputs import Inputs

LayoutSource = Callable[[str, int], Layout | str | None]
"""(module name, call index) → the layout, or why it is refused; None if nothing is known."""


class Layouts(Protocol):
    """Says where each layer's tensors hold samples and heads."""

    follows: bool
    """Whether it has to see every torch function of the forward."""

    def place(self, site: CallSite, labels: Labels | None, tensor: Tensor | None) -> CallSite:
        """Return the call site with its layout. Raises `RefusedLayout`, `StaleLayout`.

        `tensor`: its query or its weights, to see how their elements were moved.
        """

    def is_usual(self, name: str, call_index: int) -> bool:
        """Return whether a call is known to hold samples and heads in the usual order."""

    def labels_of(self, tensor: Tensor) -> Labels | None:
        """Return the labels of a tensor; None if they are not known."""

    def scores_labels(self, args: Any, kwargs: Any) -> Labels | None:
        """Return the labels of the scores of a fused call with these arguments."""

    def after(self, function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> None:
        """See a torch function that was called."""

    @property
    def divided(self) -> Collection[str]:
        """The modules whose calls were each for another part of the inputs, so far."""


class KnownLayouts:
    """The layouts that an earlier forward of the same model has shown."""

    follows = False

    def __init__(self, known: LayoutSource = lambda name, index: None) -> None:
        """`known`: tells the layouts."""
        self._known = known

    def place(self, site: CallSite, labels: Labels | None, tensor: Tensor | None) -> CallSite:
        """Return the call site with its layout. Raises `RefusedLayout`, `StaleLayout`."""
        known = self._known(site.name, site.call_index)
        if isinstance(known, str):
            raise RefusedLayout(known)
        if known is None:
            return site
        known.require_moves(moves_of(tensor))
        return site._replace(layout=known)

    def is_usual(self, name: str, call_index: int) -> bool:
        """Return whether the call's layout is the usual one, or nothing is known of it."""
        known = self._known(name, call_index)
        return known is None or (isinstance(known, Layout) and known.is_plain)

    def labels_of(self, tensor: Tensor) -> Labels | None:
        """Return None: no tensor is followed."""
        return None

    def scores_labels(self, args: Any, kwargs: Any) -> Labels | None:
        """Return None: no tensor is followed."""
        return None

    def after(self, function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> None:
        """Do nothing."""

    @property
    def divided(self) -> Collection[str]:
        """None: what is known leaves them out."""
        return ()


_NO_BATCH = "the inputs are taken for one sample without a batch"


class FollowedLayouts:
    """Establishes each layer's layout from where its queries and keys come from."""

    follows = True

    def __init__(self, inputs: Inputs, batch_dim: int | None, has_batch: bool = True) -> None:
        """`batch_dim`: dimension of the inputs that is believed to hold the samples.

        has_batch: whether it is known that a dimension of each input holds them, or none.
        """
        self._inputs = inputs
        self._lineage = Lineage(inputs, has_batch)
        self._batch_dim = batch_dim
        self._parts = CallParts()
        self.divided = self._parts.divided
        self.labels_of = self._lineage.of
        self.after = self._lineage.after

    def place(self, site: CallSite, labels: Labels | None, tensor: Tensor | None) -> CallSite:
        """Return the call site with its layout. Raises `RefusedLayout`."""
        if labels is None:
            return site
        self._parts.add(site.name, labels)
        layout = establish(labels, self._batch_dim, site.heads)
        self._require_all_samples(layout)
        if layout is not None and self._batch_dim is None and layout.samples:
            layout = replace(layout, note=join_notes(layout.note, _NO_BATCH))
        if layout is not None:
            layout = replace(layout, moves=moves_of(tensor))
        is_cross = None if labels.scores is None else labels.scores.is_cross
        return site._replace(layout=layout, is_cross=is_cross)

    def is_usual(self, name: str, call_index: int) -> bool:
        """Return False: it is to be established."""
        return False

    def _require_all_samples(self, layout: Layout | None) -> None:
        dim = None if layout is None else layout.batch_dim
        if layout is None or dim is None:
            return
        sizes = {tensor.shape[dim] for tensor in self._inputs if tensor.ndim > dim}
        if layout.samples not in sizes:
            raise RefusedLayout("it is computed for some of the samples only")

    def scores_labels(self, args: Any, kwargs: Any) -> Labels | None:
        """Return the labels of the scores of a fused call with these arguments."""
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if len(tensors) < 2:
            return None
        query, key = kwargs.get("query", tensors[0]), kwargs.get("key", tensors[1])
        return self._lineage.scores_of(query, key)
