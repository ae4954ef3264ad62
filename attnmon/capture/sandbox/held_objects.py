"""Finds what the modules of a model hold, and puts back what a forward has changed of it.

It follows attributes, containers and plain objects; functions by what they enclose, by their
defaults, and by the globals that they name, so that what a hook or a helper counts is found too. It
stays out of what is a resource (files, locks, threads) and out of the objects of torch and attnmon.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import partial
from io import BytesIO, StringIO
from operator import setitem
from queue import Queue, SimpleQueue
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from attnmon.capture.model.plain_objects import (
    attributes_of,
    is_object_of_the_users,
    is_state_of_torch,
    is_worker,
    package_of,
    slots_of,
)
from attnmon.capture.sandbox.held_code import CODE_AND_CLASSES, hold_class, hold_code
from attnmon.capture.sandbox.held_containers import (
    SEQUENCES,
    WEAK,
    Held,
    HeldDict,
    HeldNames,
    HeldSequence,
    HeldSet,
    HeldSlots,
    HeldWeak,
    stopping,
)
from attnmon.capture.sandbox.held_values import (
    LEAVES,
    MOST_ARRAY_BYTES,
    HeldArray,
    HeldBytes,
    HeldTensor,
    held_generator,
    is_shared_value,
    is_writable_array,
)
from attnmon.capture.sandbox.other_threads import ReachingThread, find_reaching_thread
from attnmon.capture.sandbox.own_memory import OwnMemory

DEEPEST = 6
"""How far from a module its objects are followed."""

MOST_OBJECTS = 200_000
"""How many objects are looked at."""

MOST_ITEMS = 2_000_000
"""Of larger containers no copy is made."""


class HeldObjects:
    """All that a model's modules and the inputs hold, as it was when this was made."""

    def __init__(
        self, model: nn.Module, inputs: object, own: OwnMemory, stop: Callable[[str], None]
    ) -> None:
        """own: the memory that the forward may write to. stop: ends the forward; it raises."""
        self.irreversible = ""
        """What is held that cannot be put back; empty if there is nothing."""
        self._own = own
        self._stop = stop
        self._held: list[Held] = []
        self._stand_ins: list[Callable[[], object]] = []
        self._restored: set[int] = set()
        self._tensors: list[HeldTensor] = []
        self._seen: dict[int, object] = {}
        hooks = torch.nn.modules.module
        roots = [vars(hooks)[name] for name in vars(hooks) if name.startswith("_global_forward")]
        names = {id(p): name for name, p in (*model.named_parameters(), *model.named_buffers())}
        self._names = names
        self._queue: deque[tuple[object, int]] = deque([(model, 0)])
        self._queue += [(root, 1) for root in (*roots, inputs)]
        while self._queue and not self.irreversible:
            self._visit(*self._queue.popleft())

    @property
    def reaching_thread(self) -> ReachingThread | None:
        """Another thread that could change what is put back meanwhile; None if there is none."""
        names = [held for held in self._held if isinstance(held, HeldNames)]
        functions = [value for value in self._seen.values() if isinstance(value, FunctionType)]
        places = [place for held in names for place in held.places()]
        places += [(id(vars(function)), name) for function in functions for name in vars(function)]
        return find_reaching_thread(self._restored, places)

    def stop_iterators(self) -> None:
        """Puts what ends the forward, when it is used, in the place of each iterator."""
        for stand_in in self._stand_ins:
            stand_in()

    def put_back(self) -> str:
        """Makes all as it was; writes only where something differs.

        Returns what could not be put back; empty if all could.
        """
        failure = ""
        for held in (*self._held, *self._tensors):
            try:
                held.put_back()
            except Exception as error:  # of an object of the user's; the others are put back still
                failure = failure or f"{type(error).__name__}: {error}"
        return failure

    @property
    def written_to(self) -> str:
        """The name of a tensor that was written to unseen; empty if there is none."""
        return next((held.name for held in self._tensors if held.was_written_to), "")

    def _visit(self, value: object, depth: int) -> None:
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, nn.Module):
            depth = 0
        number = len(self._held)
        try:
            children = self._hold(value)
        except Exception:  # an object of the user's that cannot be looked at
            children = ()
        if len(self._held) > number and not isinstance(value, _IN_PARTS):
            self._restored.add(id(value))
        if len(self._seen) > MOST_OBJECTS:
            self.irreversible = f"more than {MOST_OBJECTS:,} objects"
        if depth < DEEPEST:
            self._queue += [
                (child, depth + 1)
                for child in children
                if type(child) not in LEAVES and id(child) not in self._seen
            ]

    def _hold(self, value: object) -> Iterable[object]:
        """Notes the object's state. Returns the objects that it holds."""
        if type(value) in _CODE_ITSELF:  # as most are: the questions below would take longer
            return self._hold_code(value)
        if isinstance(value, Tensor):
            return self._hold_tensor(value)
        if (items := _number_of_items(value)) > MOST_ITEMS:
            self.irreversible = f"a {type(value).__name__} of {items:,} items"
            return ()
        if isinstance(value, dict):
            return [*self._hold_dict(value), *self._hold_attributes(value)]
        if isinstance(value, SEQUENCES):
            return [*self._hold_sequence(value), *self._hold_attributes(value)]
        if isinstance(value, set):
            self._held.append(HeldSet(value))
            return [*value, *self._hold_attributes(value)]
        if isinstance(value, (tuple, frozenset)):
            return value
        if (generator := held_generator(value)) is not None:
            self._held.append(generator)
            return ()
        if is_writable_array(value):
            return self._hold_array(value)
        if isinstance(value, WEAK):
            self._held.append(weak := HeldWeak(value))
            return weak.values()
        if isinstance(value, ContextVar):  # the forward has a context of its own
            return [value.get(None)]
        if isinstance(value, threading.local):
            return self._hold_dict(value.__dict__)
        if isinstance(value, weakref.ref):
            return [value()]
        if is_shared_value(value):
            self._held.append(HeldBytes(value))
            return ()
        if isinstance(value, torch.jit.ScriptModule):
            return [*value.parameters()]
        if isinstance(value, CODE_AND_CLASSES):
            return self._hold_code(value)
        kind = type(value)
        is_of_the_users = is_object_of_the_users(value)
        if is_of_the_users and is_worker(value) and not isinstance(value, nn.Module):
            return [v for v in attributes_of(value).values() if isinstance(v, _NOT_RESTORABLE)]
        if is_of_the_users or isinstance(value, nn.Module) or is_state_of_torch(kind):
            return [*self._hold_attributes(value), kind]
        if isinstance(value, _NOT_RESTORABLE) or package_of(kind) in _STATES_IN_C:
            self.irreversible = f"a {type(value).__module__}.{type(value).__qualname__}"
        return ()

    def _hold_code(self, value: Any) -> Iterable[object]:
        held, children = hold_class(value) if isinstance(value, type) else hold_code(value)
        self._held += held
        for names in held:
            if isinstance(names, HeldNames):
                self._stand_ins.append(partial(names.stop_iterators, self._stop))
        return children

    def _hold_dict(self, value: dict[Any, Any]) -> list[object]:
        self._held.append(held := HeldDict(value))
        for key, item in held.items:
            if (stopped := stopping(item, self._stop)) is not item:
                self._stand_ins.append(partial(dict.__setitem__, value, key, stopped))
        return [item for _, item in held.items]

    def _hold_sequence(self, value: Any) -> list[object]:
        items = [*value]
        self._held.append(HeldSequence(value))
        for index, item in enumerate(items):
            if (stopped := stopping(item, self._stop)) is not item:
                self._stand_ins.append(partial(setitem, value, index, stopped))
        return items

    def _hold_tensor(self, tensor: Tensor) -> Iterable[object]:
        if not self._own.has(tensor):
            self._tensors.append(HeldTensor(tensor, self._names.get(id(tensor), "a tensor")))
        attributes = getattr(tensor, "__dict__", None)
        return [type(tensor), *([attributes] if attributes else ())]

    def _hold_array(self, array: Any) -> Iterable[object]:
        if array.nbytes > MOST_ARRAY_BYTES:
            self.irreversible = f"a NumPy array of {array.nbytes >> 20} MiB"
        else:
            self._held.append(HeldArray(array))
        return list(array.flat) if array.dtype.hasobject else ()

    def _hold_attributes(self, value: object) -> list[object]:
        """Notes the attributes of an object, in its dict and in slots. Returns their values."""
        found: list[object] = []
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            found += self._hold_dict(attributes)
        if slots_of(type(value)):
            slots = HeldSlots(value)
            self._held.append(slots)
            self._stand_ins.append(partial(slots.stop_iterators, self._stop))
            found += slots.values()
        return found


_CODE_ITSELF = frozenset(CODE_AND_CLASSES)
_IN_PARTS = (threading.local, *CODE_AND_CLASSES)
"""Kinds of objects of which only some names are put back."""

_NOT_RESTORABLE = (Queue, SimpleQueue, StringIO, BytesIO)
"""Kinds of objects of Python's that hold state which cannot be put back."""

_STATES_IN_C = frozenset(
    {"_hashlib", "_sha1", "_sha2", "_sha256", "_sha512", "_sha3", "_md5", "_blake2", "hmac", "mmap",
     "sqlite3", "zlib", "_bz2", "bz2", "_lzma", "lzma", "_csv", "_gdbm", "_dbm", "dbm", "shelve"}
)  # fmt: skip
"""Packages of Python's whose objects hold such state, too."""


def _number_of_items(value: object) -> int:
    return len(value) if isinstance(value, (dict, set, list, deque)) else 0
