"""Tells objects that only hold values, as batches and configurations do, from all others."""

import sys
from collections.abc import Set
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

_CLOSED = frozenset(
    {"numpy", "attnmon", "attnmon_renderer", "lightning", "pytorch_lightning", "lightning_fabric",
     "accelerate", "deepspeed", "datasets", "pandas", "wandb", "tqdm", "einops", "IPython",
     "ipykernel", "tornado", "traitlets", "zmq", "debugpy", "pydevd", "_pydevd_bundle", "_pytest",
     "asyncio", "playwright", "greenlet", "pyee",
     "pluggy", "xdist", "execnet"}
)  # fmt: skip
"""Packages whose objects do not change a model's, whatever they reach."""

_TRANSPARENT = frozenset({"collections", "types", "argparse", "dataclasses"})
"""Those of the standard library whose objects are containers."""

_OPAQUE = (_CLOSED | {"torch"} | sys.stdlib_module_names) - _TRANSPARENT
"""Packages whose objects are more than what they hold."""

_STATES_OF_TORCH = ("torch.optim.", "torch.amp.", "torch.distributions.", "torch.quasirandom")

_WORKERS = frozenset(
    {"threading", "socket", "_socket", "queue", "_queue", "multiprocessing", "subprocess",
     "concurrent", "asyncio"}
)  # fmt: skip
"""Packages of values with which an object is shared with other threads or processes."""

_RESOURCES = _WORKERS | {"_thread", "_io", "io", "mmap", "sqlite3", "logging"}
"""Packages of values with which an object is a resource, and not state alone."""


def is_object_of_the_users(value: object) -> bool:
    """Returns whether this is an object, and no class, of a class of the user's or a library's."""
    kind = type(value)
    return not (issubclass(kind, type) or is_opaque(kind))


def is_plain_object(value: object) -> bool:
    """Returns whether this is an object of the user's that is all in its attributes."""
    return is_object_of_the_users(value) and not _holds_one_of(value, _RESOURCES)


def is_worker(value: object) -> bool:
    """Returns whether an object's state is shared with other threads or processes."""
    return _holds_one_of(value, _WORKERS)


def _holds_one_of(value: object, packages: Set[str]) -> bool:
    attributes = getattr(value, "__dict__", None)
    values = attributes.values() if isinstance(attributes, dict) else ()
    return any(package_of(type(held)) in packages for held in values)


def is_state_of_torch(kind: type) -> bool:
    """Returns whether objects of a class of torch's are all in their attributes, and change.

    As those of optimizers and what schedules them, scalers and distributions do.
    """
    return kind.__module__.startswith(_STATES_OF_TORCH)


def is_opaque(value: type | FunctionType | ModuleType) -> bool:
    """Returns whether a class, function or module is torch's, NumPy's, Python's, or attnmon's."""
    return package_of(value) in _OPAQUE


def is_closed(kind: type) -> bool:
    """Returns whether a class is of a package whose objects change no model's."""
    return package_of(kind) in _CLOSED


def package_of(value: type | FunctionType | ModuleType) -> str:
    """Returns the outermost package that a class or function is defined in, or a module is of."""
    module = value.__name__ if isinstance(value, ModuleType) else value.__module__
    return _package_of(str(module))


@lru_cache(maxsize=4096)
def _package_of(module: str) -> str:
    return module.partition(".")[0]


def slots_of(kind: type) -> dict[str, Any]:
    """Returns the descriptors of the attributes that a class keeps in slots, by name."""
    return _slots_of(kind)


@lru_cache(maxsize=1024)
def _slots_of(kind: Any) -> dict[str, Any]:
    found = {}
    for base in kind.__mro__:
        names = vars(base).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            descriptor = vars(base).get(name)
            if hasattr(descriptor, "__set__") and hasattr(descriptor, "__get__"):
                found[name] = descriptor
    return found


def attributes_of(value: object) -> dict[str, Any]:
    """Returns the attributes of an object, in its dict and in slots, by name."""
    attributes = getattr(value, "__dict__", None)
    found = {name: getattr(value, name) for name in slots_of(type(value)) if hasattr(value, name)}
    return {**attributes, **found} if isinstance(attributes, dict) else found
