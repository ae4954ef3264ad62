"""Labels the tensors of one forward, from the model's inputs on, as its functions are called."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from torch import Tensor

from attnmon.capture.lineage import contraction, movement
from attnmon.capture.lineage.contraction import Factor
from attnmon.capture.lineage.element_labels import (
    Label,
    Labels,
    features_of,
    fitted,
    input_labels,
)
from attnmon.capture.lineage.function_calls import SOFTMAXES, base_name, tensors_among, words

_REDUCTIONS = words("mean sum amax amin prod norm std var logsumexp any all nanmean nansum")
_WITH_INDICES = words("max min median nanmedian mode")
"""Reductions that return the places of what they found beside it."""
_CONVOLUTIONS = words("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d")
_FACTORIES = words(
    "zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros "
    "new_ones new_empty new_full new_tensor"
)
"""Functions that take nothing from a tensor but its shape, dtype or device."""
_RECURRENT = words("gru lstm rnn_tanh rnn_relu")
_ATTENTION = words("scaled_dot_product_attention flex_attention")


class Lineage:
    """The labels of the tensors of one forward, which it holds weakly.

    A function that is not understood gives a result without labels; nothing is guessed.
    """

    def __init__(self, inputs: Sequence[Any], has_batch: bool = True) -> None:
        """`inputs`: what the model is called with: its tensors; others have no labels.

        has_batch: whether one of their first two dimensions may hold the samples.
        """
        inputs = [value for value in inputs if isinstance(value, Tensor)]
        self._labels: dict[int, tuple[weakref.ref[Tensor], Labels | None]] = {}
        """None for what comes from an input through a function that is not understood."""
        self._projections = 0
        self._attentions = 0
        is_shared = [any(t.shape[d] > 1 for t in inputs if t.dim() > d) for d in (0, 1)]
        for stream, tensor in enumerate(inputs):
            if tensor.dim() and tensor.numel():
                labels = input_labels(tensor, stream, is_shared if has_batch else None)
                self._set(tensor, labels)

    def of(self, tensor: object) -> Labels | None:
        """Return the labels of a tensor; None if it comes from no input or is not understood."""
        reference, labels = self._labels.get(id(tensor), (None, None))
        is_known = reference is not None and reference() is tensor
        return labels if is_known and labels is not None and labels.shape == tensor.shape else None  # type: ignore[attr-defined]

    def scores_of(self, query: Tensor, key: Tensor) -> Labels | None:
        """Return the labels that query · keyᵀ would have; None if they are not known.

        A key with fewer heads than the query serves neighbouring heads. Learned queries, which come
        from no input, belong to the sample of their keys.
        """
        mine, theirs = self.of(query), self.of(key)
        if theirs is None or query.dim() != key.dim():
            return None
        is_known = not self._is_derived(query)
        mine = mine or _of_learned_query(theirs, query)
        lead = "ABCDEFGH"[: query.dim() - 2]
        if query.dim() > 3 and query.shape[-3] != key.shape[-3]:  # grouped: of the first head
            key, theirs = key[..., :1, :, :], _of_first_head(theirs)
        return contraction.scored(
            Factor(query, lead + "id", mine),
            Factor(key, lead + "jd", theirs),
            lead + "ij",
            is_known,
        )

    def after(self, function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> None:
        """Label the result of a torch function that was called with these arguments."""
        is_tensor = isinstance(result, Tensor)
        if (
            is_tensor and args and result is args[0] and result._base is not None
        ):  # a view, in place
            for value in args[1:]:
                self._after_assignment(result._base, value)
        if result is None and base_name(function) == "setitem":
            self._after_assignment(args[0], args[-1])
        if not is_tensor and not isinstance(result, (tuple, list)):
            return
        given = tensors_among((*args, *kwargs.values()))
        operands = [tensor for tensor in given if self.of(tensor) is not None]
        if base_name(function) in _FACTORIES or not (operands or any(map(self._is_derived, given))):
            return
        found: Sequence[Labels | None] = []
        if operands:
            try:
                found = self._found(base_name(function), function, args, kwargs, result, operands)
            except (ValueError, IndexError, KeyError, RuntimeError, TypeError, NotImplementedError):
                pass  # a function, or a way to call it, that is not understood
        results = [result] if is_tensor else [r for r in result if isinstance(r, Tensor)]
        for tensor, labels in zip_longest(results, found[: len(results)]):
            is_fitting = labels is not None and labels.shape == tensor.shape and tensor.numel()
            self._set(tensor, labels if is_fitting else None)

    def _after_assignment(self, target: Tensor, value: object) -> None:
        """Note that a tensor that came from no input is overwritten in part with what does."""
        is_of_input = isinstance(value, Tensor) and (self.of(value) or self._is_derived(value))
        if is_of_input and self.of(target) is None:
            self._set(target, None)

    def _is_derived(self, tensor: Tensor) -> bool:
        """Return whether it comes from an input through a function that is not understood."""
        reference, labels = self._labels.get(id(tensor), (None, None))
        return reference is not None and reference() is tensor and labels is None

    def _found(
        self,
        name: str,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        result: Any,
        operands: list[Tensor],
    ) -> Sequence[Labels | None]:
        labels = self.of(operands[0])
        assert labels is not None
        if name in movement.REPLAYED:
            if operands[0] is not args[0]:
                return []
            return movement.replayed_labels(labels, function, args, kwargs, result)
        if not isinstance(result, Tensor):
            if name in _WITH_INDICES:
                return [_reduced(labels, args, kwargs, result[0])]
            return [_like_same_rank(labels, result[0].shape)] if name in _RECURRENT else []
        if name in movement.RESHAPES:
            return [movement.reshaped_labels(labels, result.shape)]
        if name in contraction.PRODUCTS:
            return [self._product(name, args, kwargs, result)]
        if name in movement.JOINS:
            return [self._joined(args, kwargs, result, movement.JOINS[name])]
        return [self._other(name, args, kwargs, result, operands, labels)]

    def _other(
        self, name: str, args: Any, kwargs: Any, result: Tensor, operands: list[Tensor],
        labels: Labels,
    ) -> Labels | None:  # fmt: skip
        if name in _ATTENTION:
            query = kwargs.get("query", args[0] if args else None)
            return self._attended(self.of(query) or _of_learned_query(labels, query), result)
        if name in SOFTMAXES and labels.scores is not None:
            return replace(labels, scores=replace(labels.scores, is_weights=True))
        if name == "embedding":
            return self._embedded(labels, result)
        if name in _CONVOLUTIONS:
            return self._convolved(labels, result)
        if name in _REDUCTIONS:
            return _reduced(labels, args, kwargs, result)
        if name == "pad":
            pad, mode = kwargs.get("pad", args[1:2]), kwargs.get("mode", args[2:3])
            is_constant = mode in ((), "constant", ("constant",))
            sides = pad[0] if isinstance(pad, tuple) and isinstance(pad[0], (tuple, list)) else pad
            return movement.padded_labels(labels, sides, result.shape) if is_constant else None
        if name in movement.REORDERS:
            return None
        if name in movement.SCATTERS:
            return self._scattered(args, kwargs, result)
        if name == "view_as_complex":
            return labels.mapped(result.shape, lambda label: label[..., 0])
        if name == "view_as_real":
            return labels.mapped(result.shape, lambda label: label.unsqueeze(-1))
        return self._elementwise(operands, result) or _like_same_rank(labels, result.shape)

    def _product(self, name: str, args: Any, kwargs: Any, result: Tensor) -> Labels | None:
        given, output = contraction.factors_of(name, args, kwargs)
        factors = [Factor(tensor, subscripts, self.of(tensor)) for tensor, subscripts in given]
        known = [factor for factor in factors if factor.labels is not None]
        weights = [factor for factor in known if _holds_weights(factor.labels)]
        if weights and len(known) == 2:
            self._attentions += 1
            return contraction.summed(weights[0], output, result.shape, self._attentions)
        if len(known) == 1:
            if asked := contraction.with_learned_queries(factors, output):
                is_known = not any(self._is_derived(tensor) for tensor, _ in given)
                return contraction.scored(*asked, output, is_known)
            others = [factor for factor in factors if factor.labels is None]
            self._projections += 1
            return contraction.projected(known[0], others, output, self._projections)
        return contraction.scored(known[0], known[1], output) if len(known) == 2 else None

    def _joined(self, args: Any, kwargs: Any, result: Tensor, is_new: bool) -> Labels:
        tensors = kwargs.get("tensors", args[0] if args else ())
        dim = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else 0))
        parts = [(tensor, self.of(tensor)) for tensor in tensors]
        return movement.joined_labels(parts, dim % result.dim(), result.shape, is_new)

    def _scattered(self, args: Any, kwargs: Any, result: Tensor) -> Labels | None:
        source = kwargs.get("source", kwargs.get("src", args[-1]))
        dim, index = kwargs.get("dim", args[1]), kwargs.get("index", args[-2])
        labels = self.of(source)
        if labels is None or self.of(args[0]) is not None:
            return None
        return movement.scattered_labels(labels, source, dim, index, result.shape)

    def _attended(self, query: Labels, result: Tensor) -> Labels:
        self._attentions += 1
        stream = -self._attentions if query.stream is None else query.stream

        def of_position(label: Tensor) -> Label:
            return label if label.shape[-1] == 1 else None

        moved = query.mapped(result.shape, of_position)
        passed = query.passed | {self._attentions}
        return replace(moved, stream=stream, passed=passed)

    def _embedded(self, ids: Labels, result: Tensor) -> Labels:
        moved = ids.mapped(result.shape, lambda label: label.unsqueeze(-1))
        return self._with_features(moved, result, -1)

    def _convolved(self, labels: Labels, result: Tensor) -> Labels | None:
        if len(labels.shape) != result.dim() or result.dim() < 3:
            return None
        kept = _like_same_rank(labels, result.shape, mixed=(1,))
        # Along the signal that it runs over, the last dimension holds positions, not variables.
        return None if kept is None else self._with_features(replace(kept, last=None), result, 1)

    def _with_features(self, labels: Labels, result: Tensor, dim: int) -> Labels:
        self._projections += 1
        shape = [1] * result.dim()
        shape[dim] = result.shape[dim]
        feature = features_of(self._projections, result.shape[dim]).view(shape)
        return replace(labels, feature=feature, scores=None)

    def _elementwise(self, operands: list[Tensor], result: Tensor) -> Labels | None:
        """Return the labels of the operand that fills the result; None if none broadcasts to it."""
        known = [labels for t in operands if (labels := self.of(t)) is not None]
        fitting = [each for each in known if _broadcasts(each.shape, result.shape)]
        if not fitting:
            return None

        def rank(labels: Labels) -> tuple[bool, bool]:
            return labels.scores is None, labels.shape != result.shape

        chosen = min(fitting, key=rank)
        moved = chosen.mapped(result.shape, lambda label: fitted(label, result.dim()))
        passed = frozenset().union(*(labels.passed for labels in known))
        return replace(moved, passed=passed)

    def _set(self, tensor: Tensor, labels: Labels | None) -> None:
        key, known = id(tensor), self._labels
        known[key] = (weakref.ref(tensor, lambda _: known.pop(key, None)), labels)


def _like_same_rank(
    labels: Labels, shape: Sequence[int], mixed: Sequence[int] = ()
) -> Labels | None:
    """Return the labels of a result of the same rank that was made along some dimensions.

    A label stays where it does not change along a dimension whose size has changed.
    """
    if len(shape) != len(labels.shape):
        return None
    changed = {dim for dim, size in enumerate(shape) if size != labels.shape[dim]} | set(mixed)

    def kept(label: Tensor) -> Label:
        return label if all(label.shape[dim] == 1 for dim in changed) else None

    return labels.mapped(shape, kept)


def _reduced(labels: Labels, args: Any, kwargs: Any, result: Tensor) -> Labels | None:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if dim is None or isinstance(dim, float):
        return None
    dims = sorted({d % len(labels.shape) for d in ((dim,) if isinstance(dim, int) else dim)})
    keeps = len(labels.shape) == result.dim()

    def reduced(label: Tensor) -> Label:
        if any(label.shape[d] > 1 for d in dims):
            return None
        return label if keeps else label.squeeze(dims)

    return labels.mapped(result.shape, reduced)


def _holds_weights(labels: Labels | None) -> bool:
    return labels is not None and labels.scores is not None and labels.scores.is_weights


def _of_learned_query(key: Labels, query: Tensor) -> Labels:
    def of_position(label: Tensor) -> Label:
        return label if label.shape[-2] == 1 else None

    moved = key.mapped(query.shape, of_position)
    return replace(moved, stream=None, passed=frozenset(), scores=None)


def _of_first_head(labels: Labels) -> Labels:
    shape = (*labels.shape[:-3], 1, *labels.shape[-2:])
    return labels.mapped(shape, lambda label: label[..., :1, :, :])


def _broadcasts(shape: Sequence[int], target: Sequence[int]) -> bool:
    if len(shape) > len(target):
        return False
    pairs = zip(reversed(shape), reversed(target), strict=False)
    return all(one in (1, other) for one, other in pairs)
