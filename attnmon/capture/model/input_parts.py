"""Walks through inputs of any kind: containers, mappings, dataclasses and other plain objects.

Their leaves are tensors and NumPy arrays. A copy has the same class as what it was made of, and no
constructor runs for it.
"""

import copy
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from attnmon.capture.model.plain_objects import attributes_of, is_plain_object, slots_of

DEEPEST = 8
"""How far into its containers an input is looked at."""

Leaf = Any
"""A tensor or a NumPy array: it has a `shape` and `ndim`."""

Change = Callable[[Leaf, str], Any]
"""Returns what takes a leaf's place; given the leaf and the innermost name that leads to it."""


def is_leaf(value: object) -> bool:
    """Returns whether this is a tensor or a NumPy array."""
    return isinstance(value, Tensor) or is_array(value)


def is_array(value: object) -> bool:
    """Returns whether this is a NumPy array. Does not import NumPy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def copy_of(leaf: Leaf) -> Leaf:
    """Returns a copy in memory of its own, of the same class and with the same attributes."""
    if not isinstance(leaf, Tensor):
        return leaf.copy(order="K")
    new = leaf.detach().clone()
    kind = type(leaf)
    if type(new) is not kind and not isinstance(leaf, nn.Parameter):
        new = new.as_subclass(kind)
    if attributes := getattr(leaf, "__dict__", None):
        vars(new).update(attributes)
    return new.requires_grad_() if leaf.requires_grad and leaf.is_leaf else new


def parts_of(value: object) -> list[tuple[str, Any]]:
    """Returns (name, part) of what an input consists of; no name for a position."""
    if isinstance(value, dict):
        return [(str(key), item) for key, item in dict.items(value)]
    if isinstance(value, (tuple, list, deque)):
        return [("", item) for item in value]
    if is_leaf(value) or isinstance(value, nn.Module) or not is_plain_object(value):
        return []
    return [*attributes_of(value).items()]


def leaves_of(value: object, depth: int = DEEPEST) -> Iterator[Leaf]:
    """Yields all tensors and arrays in an input."""
    if is_leaf(value):
        yield value
    elif depth:
        for _, part in parts_of(value):
            yield from leaves_of(part, depth - 1)


def with_leaves(value: Any, change: Change, name: str = "") -> Any:
    """Returns the same input with other leaves. All containers are copied, other values shared."""
    return _Copier(change).copied(value, name, DEEPEST)


class _Copier:
    """Copies one input; what is in it twice is copied once."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self._copies: dict[int, tuple[Any, Any]] = {}
        """(value, copy) by the value's id; it holds the value, so that no id is used again."""

    def copied(self, value: Any, name: str, depth: int) -> Any:
        if id(value) in self._copies:
            return self._copies[id(value)][1]
        if is_leaf(value):
            return self._kept(value, self._change(value, name))
        if not depth or next(leaves_of(value, depth), None) is None:
            return value
        if isinstance(value, tuple):
            return self._kept(value, self._tuple(value, name, depth - 1))
        new = self._kept(value, copy.copy(value))
        if isinstance(value, dict):
            for key, item in dict.items(value):
                dict.__setitem__(new, key, self.copied(item, str(key), depth - 1))
        elif isinstance(value, (list, deque)):
            for index, item in enumerate(value):
                new[index] = self.copied(item, name, depth - 1)
        self._copy_attributes(new, depth - 1)
        return new

    def _kept(self, value: Any, new: Any) -> Any:
        self._copies[id(value)] = (value, new)
        return new

    def _tuple(self, value: tuple[Any, ...], name: str, depth: int) -> Any:
        items = (self.copied(item, name, depth) for item in value)
        kind: Any = type(value)
        return kind(items) if hasattr(kind, "n_sequence_fields") else tuple.__new__(kind, items)

    def _copy_attributes(self, new: Any, depth: int) -> None:
        """Replaces the attributes of a shallow copy: its own may differ from the original's."""
        slots = slots_of(type(new))
        for name, item in attributes_of(new).items():
            replacement = self.copied(item, name, depth)
            if replacement is item:
                continue
            if name in slots:
                slots[name].__set__(new, replacement)
            else:
                vars(new)[name] = replacement
