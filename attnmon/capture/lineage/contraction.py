"""Labels of products: of an activation with a parameter, of queries with keys, weights with values.

A product is read as an einsum: which dimension of each factor becomes which of the result.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from torch import Tensor, nn

from attnmon.capture.lineage.element_labels import (
    UNKNOWN,
    Label,
    Labels,
    ScoreOrigin,
    features_of,
)
from attnmon.capture.lineage.function_calls import words

PRODUCTS = words("linear matmul bmm mm linalg_matmul rmatmul addmm baddbmm addbmm einsum")


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """One factor of a product."""

    tensor: Tensor
    subscripts: str
    """One letter for each dimension of the tensor, as in an einsum."""
    labels: Labels | None
    """None for a parameter, or anything else that comes from no input."""


def factors_of(name: str, args: Sequence[Any], kwargs: Any) -> tuple[list[tuple[Tensor, str]], str]:
    """Return the factors of a product with their subscripts, and the result's subscripts.

    name: one of `PRODUCTS`. Raises ValueError for a product that is not read.
    """
    if name == "einsum":
        return _einsum_factors(args, kwargs)
    tensors = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
    if name == "linear":
        tensor, weight = tensors[:2]
        left, right = _matmul_subscripts(tensor.dim(), 2)
        return [(tensor, left), (weight, right[::-1])], left[:-1] + right[-1]
    one, other = tensors[1:3] if name in ("addmm", "baddbmm", "addbmm") else tensors[:2]
    if name == "rmatmul":
        one, other = other, one
    if name == "addbmm" or min(one.dim(), other.dim()) < 2:
        raise ValueError(name)
    left, right = _matmul_subscripts(one.dim(), other.dim())
    batch = max(left[:-2], right[:-2], key=len)
    return [(one, left), (other, right)], batch + left[-2] + right[-1]


def _matmul_subscripts(left: int, right: int) -> tuple[str, str]:
    batch = string.ascii_uppercase[:20]
    return batch[22 - left :] + "ik", batch[22 - right :] + "kj"


def _einsum_factors(args: Sequence[Any], kwargs: Any) -> tuple[list[tuple[Tensor, str]], str]:
    equation = str(kwargs.get("equation", args[0])).replace(" ", "")
    given = args[1:] if len(args) > 1 else kwargs["operands"]
    tensors = given[0] if len(given) == 1 and not isinstance(given[0], Tensor) else given
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    if not arrow:
        letters = sorted(c for c in set(inputs) - set(",.") if inputs.count(c) == 1)
        output = "..." * ("..." in inputs) + "".join(letters)
    free = [c for c in string.ascii_letters if c not in equation]
    ranks = [t.dim() - len(term.replace("...", "")) for t, term in zip(tensors, terms, strict=True)]
    widest = "".join(
        free[: max((r for r, t in zip(ranks, terms, strict=True) if "." in t), default=0)]
    )
    terms = [t.replace("...", widest[len(widest) - r :]) for t, r in zip(terms, ranks, strict=True)]
    if any(len(set(term)) != len(term) for term in terms):
        raise ValueError(equation)
    return list(zip(tensors, terms, strict=True)), output.replace("...", widest)


def projected(one: Factor, others: Sequence[Factor], output: str, projection: int) -> Labels:
    """Return the labels of a product of one labelled factor with parameters.

    The parameters' own dimensions number the features.
    """
    labels = one.labels
    assert labels is not None
    own = {c: f.tensor.shape[i] for f in others for i, c in enumerate(f.subscripts)}
    new = [c for c in output if c not in one.subscripts]
    feature = arranged(labels.feature, one.subscripts, output, may_mix=True)
    if new:
        numbers = features_of(projection, prod(own[c] for c in new)).view([own[c] for c in new])
        feature = arranged(numbers, "".join(new), output)
    return replace(
        labels,
        shape=_shape([one, *others], output),
        first=arranged(labels.first, one.subscripts, output),
        second=arranged(labels.second, one.subscripts, output),
        last=arranged(labels.last, one.subscripts, output),
        source=arranged(labels.source, one.subscripts, output),
        feature=feature,
        scores=labels.scores if one.subscripts[-1] in output else None,  # heads may be mixed
    )


def with_learned_queries(factors: Sequence[Factor], output: str) -> tuple[Factor, Factor] | None:
    """Return two factors of which one comes from no input, as queries that a decoder begins with.

    It gets the other's samples and heads. None if it is a parameter, or if the product is not that
    of one position of each, within each of some leading dimensions.
    """
    if len(factors) != 2 or _is_parameter(min(factors, key=_is_labelled).tensor):
        return None
    learned, other = sorted(factors, key=_is_labelled)
    shared = set(learned.subscripts) & set(other.subscripts) & set(output)
    own = set(output) - shared
    if not shared or len(own) != 2 or own <= set(learned.subscripts) or other.labels is None:
        return None
    labels = learned_labels(other, learned.subscripts, learned.tensor.shape)
    asked = replace(learned, labels=labels)
    return (asked, other) if factors[0] is learned else (other, asked)


def learned_labels(beside: Factor, subscripts: str, shape: Sequence[int]) -> Labels:
    """Return labels for a factor without: the sample and head of the factor beside it."""
    assert beside.labels is not None
    moved = beside.labels.mapped(
        shape, lambda label: arranged(label, beside.subscripts, subscripts)
    )
    return replace(moved, stream=None, passed=frozenset(), scores=None)


def _is_labelled(factor: Factor) -> bool:
    return factor.labels is not None


def _is_parameter(tensor: Tensor) -> bool:
    return isinstance(tensor if tensor._base is None else tensor._base, nn.Parameter)


def scored(query: Factor, key: Factor, output: str, is_known: bool = True) -> Labels:
    """Return the labels of a product of two labelled factors: the scores of queries and keys.

    is_known: whether it is known where both come from.
    """
    mine, theirs = query.labels, key.labels
    assert mine is not None
    assert theirs is not None
    origin = ScoreOrigin(
        (
            _is_of_one_sample(query, mine.first, key, theirs.first, output),
            _is_of_one_sample(query, mine.second, key, theirs.second, output),
        ),
        _is_of_one_sample(query, mine.source, key, theirs.source, output),
        _is_over_channels(query, key, output),
        _is_cross(mine, theirs) if is_known and not _is_one_learned(query, output) else None,
        is_weights=False,
        has_earlier_keys=_has_earlier_keys(query, key, output),
        is_in_order=_are_in_order(query, output[-2]) and _are_in_order(key, output[-1]),
    )
    return replace(
        mine,
        shape=_shape([query, key], output),
        first=arranged(mine.first, query.subscripts, output),
        second=arranged(mine.second, query.subscripts, output),
        last=arranged(mine.last, query.subscripts, output),
        source=arranged(mine.source, query.subscripts, output),
        feature=arranged(mine.feature, query.subscripts, output, may_mix=True),
        is_reordered=mine.is_reordered or theirs.is_reordered,
        scores=origin,
    )


def summed(weights: Factor, output: str, shape: Sequence[int], call: int) -> Labels:
    """Return the labels of a sum of values by weights: its rows are those of the weights."""
    labels = weights.labels
    assert labels is not None
    return replace(
        labels,
        shape=tuple(shape),
        first=arranged(labels.first, weights.subscripts, output),
        second=arranged(labels.second, weights.subscripts, output),
        last=arranged(labels.last, weights.subscripts, output),
        source=arranged(labels.source, weights.subscripts, output),
        feature=arranged(labels.feature, weights.subscripts, output),
        stream=-call if labels.stream is None else labels.stream,
        passed=labels.passed | {call},
        scores=None,
    )


def arranged(label: Label, subscripts: str, output: str, may_mix: bool = False) -> Label:
    """Return the label of a factor as one of the product, which sums over what is not in `output`.

    None if the label changes along what is summed over; with `may_mix`, that of the first.
    """
    if label is None:
        return None
    for dim, subscript in enumerate(subscripts):
        if subscript not in output and label.shape[dim] > 1:
            if not may_mix:
                return None
            label = label.narrow(dim, 0, 1)
    kept = [c for c in output if c in subscripts]
    summed_over = [dim for dim, c in enumerate(subscripts) if c not in output]
    label = label.permute([*map(subscripts.index, kept), *summed_over])
    label = label.reshape(label.shape[: len(kept)])
    return label[tuple(slice(None) if c in subscripts else None for c in output)]


def _shape(factors: Sequence[Factor], output: str) -> tuple[int, ...]:
    sizes: dict[str, int] = {}
    for factor in factors:
        for subscript, size in zip(factor.subscripts, factor.tensor.shape, strict=True):
            sizes[subscript] = max(size, sizes.get(subscript, 1))
    return tuple(sizes[c] for c in output)


def _is_of_one_sample(
    query: Factor, mine: Label, key: Factor, theirs: Label, output: str
) -> bool | None:
    """Return whether each query meets only keys with its own label; None if that is unknown."""
    if mine is None or theirs is None:
        return None
    one = arranged(mine, query.subscripts, output)
    other = arranged(theirs, key.subscripts, output)
    if one is None or other is None:
        return False
    rows = [i for i, c in enumerate(output) if c in query.subscripts and c not in key.subscripts]
    columns = [i for i, c in enumerate(output) if c in key.subscripts and c not in query.subscripts]
    if any(one.shape[i] > 1 for i in rows) and any(other.shape[i] > 1 for i in columns):
        return False
    known = (one != UNKNOWN) & (other != UNKNOWN)
    return bool(((one == other) | ~known).all()) if bool(known.any()) else None


def _is_over_channels(query: Factor, key: Factor, output: str) -> bool:
    """Return whether the rows are features, and what is summed over are not."""
    label = None if query.labels is None else query.labels.feature
    if label is None:
        return False
    changing = {c for c, size in zip(query.subscripts, label.shape, strict=True) if size > 1}
    rows = {c for c in query.subscripts if c in output and c not in key.subscripts}
    width = {c for c in query.subscripts if c not in output}
    return bool(changing & rows) and not changing & width


def _has_earlier_keys(query: Factor, key: Factor, output: str) -> bool:
    """Return whether there are more keys than queries, and just those in front are not their own.

    They come from no input, or from another one, as a cache does.
    """
    labels, column = key.labels, output[-1]
    if labels is None or column not in key.subscripts or output[-2] not in query.subscripts:
        return False
    queries = query.tensor.shape[query.subscripts.index(output[-2])]
    dim = key.subscripts.index(column)
    earlier = key.tensor.shape[dim] - queries
    for label in (labels.source, labels.first, labels.second):
        if label is not None and label.shape[dim] > 1 and earlier > 0:
            places = label.movedim(dim, 0).flatten(1)[:, 0]
            own = query.labels.stream if query.labels and label is labels.source else None
            is_other = places == UNKNOWN if own is None else places != own
            return bool(is_other[:earlier].all()) and not bool(is_other[earlier:].any())
    return False


def _are_in_order(factor: Factor, subscript: str) -> bool:
    """Return whether rows or columns stand as in the input; True where that is not known.

    Where several samples or heads stand in them, or several inputs, that is told elsewhere.
    """
    labels = factor.labels
    if labels is None or subscript not in factor.subscripts:
        return True
    dim = factor.subscripts.index(subscript)
    varying = [
        label
        for label in (labels.first, labels.second, labels.feature, labels.source)
        if label is not None and label.shape[dim] > 1
    ]
    if len(varying) != 1 or varying[0] is labels.feature or varying[0] is labels.source:
        return True
    places = varying[0].movedim(dim, 0).flatten(1)[:, 0]
    return not bool((places[places != UNKNOWN].diff() < 0).any())


def _is_one_learned(query: Factor, output: str) -> bool:
    """Return whether there is a single query, which is learned: a class token, or a pooling."""
    learned = query.labels is not None and query.labels.stream is None
    return learned and query.tensor.shape[query.subscripts.index(output[-2])] == 1


def _is_cross(query: Labels, key: Labels) -> bool | None:
    """Return whether the keys come from elsewhere: another input, or another stack's attention.

    Keys of earlier or later layers of the same stack, as shared or pooled ones, do not, nor do keys
    among which the queries' own stand, beside a prefix or a cache. None for learned keys.
    """
    sources = key.joined | {key.stream}
    if query.stream not in sources:
        return None if sources == {None} else True
    return not (query.passed <= key.passed or key.passed <= query.passed)
