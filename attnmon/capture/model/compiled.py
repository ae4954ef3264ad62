"""Detects whether a forward runs compiled code, which must not be called under a tap.

Dynamo guards on the stack of torch-function modes. A compiled region called under the tap would be
compiled again, with the tap traced into it, or run eagerly for ever.

There are three ways to detect it: run the forward eagerly and look at the stack
(`CompiledRegions`); read what the modules hold and name (`reaches_compiled`); notice afterwards
that something was compiled (`compilations`).
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, Self

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_WRAPPER = "_TorchDynamoContext.__call__."
"""Qualified name under which torch/_dynamo/eval_frame.py defines what torch.compile returns.

What torch.compiler.disable returns, as around activation checkpointing, is in DisableContext.
"""

_FLEX = "torch.nn.attention.flex_attention"


class CompiledRegions(TorchFunctionMode):
    """A mode that notes whether a torch function is called from a compiled function or module.

    Push it where compiled code runs eagerly (`torch.compiler.set_stance("force_eager")`), so that
    the mode sees each call. It walks the Python stack at every call, up to where it was pushed: for
    discovery only.
    """

    found = False
    """Whether a call from compiled code was seen."""
    _pushed_in: FrameType | None = None

    def __enter__(self) -> Self:
        self._pushed_in = sys._getframe(1)
        self.found = _within_compiled(self._pushed_in, None)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._pushed_in = None  # which holds this mode
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if not self.found:
            self.found = _within_compiled(sys._getframe(1), self._pushed_in)
        return func(*args, **(kwargs or {}))


def _within_compiled(frame: FrameType | None, outermost: FrameType | None) -> bool:
    while frame is not outermost and frame is not None:
        if frame.f_code.co_qualname.startswith(_WRAPPER):
            return True
        frame = frame.f_back
    return False


def compilations() -> int:
    """Returns how many frames this process has compiled so far."""
    utils = sys.modules.get("torch._dynamo.utils")
    return 0 if utils is None else int(utils.counters.get("frames", {}).get("total", 0))


def reaches_compiled(model: nn.Module) -> bool:
    """Returns whether the model's modules, or functions that they use, are or hold compiled code.

    Reads the code without running it: misses a function that is only looked up during the forward.
    """
    search = _CompiledSearch()
    return any(search.module(module) for module in model.modules())


class _CompiledSearch:
    """Searches functions and the functions they name, within one package, each once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def module(self, module: nn.Module) -> bool:
        """Returns whether this module, without its submodules, reaches compiled code."""
        if isinstance(module, torch.jit.ScriptModule):
            return False
        held = [*vars(module).values()]
        for value in vars(module).values():
            if isinstance(value, (list, tuple)):
                held += value
            elif isinstance(value, dict):
                held += value.values()
        kind = type(module)
        return any(self._finds(value, kind) for value in (*held, kind.forward, kind.__call__))

    def _finds(self, value: object, kind: type) -> bool:
        """Searches one value. kind: the class whose attributes a name may refer to."""
        function = _underlying_function(value)
        if function is None or id(function) in self._seen:
            return False
        self._seen.add(id(function))
        return _is_compiled(function) or any(
            self._finds(named, kind) for named in _named_by(function, kind)
        )


def _named_by(function: FunctionType, kind: type) -> Iterator[object]:
    """Yields the functions to which names in the code may refer; of other packages if compiled."""
    yield from _enclosed_by(function)
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    for name in names:
        referents = [function.__globals__.get(name), _attribute_of(kind, name)]
        if isinstance(referents[0], ModuleType):
            referents += [vars(referents[0]).get(other) for other in names]
        for value in referents:
            named = _underlying_function(value)
            if named is not None and (_is_compiled(named) or _package(named) == _package(kind)):
                yield named


def _attribute_of(kind: type, name: str) -> object:
    """Returns a class's attribute as it stands there: to ask for it may run the user's code."""
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def _enclosed_by(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # the cell is still empty
            pass


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yields a function's code and the code of the functions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _underlying_function(value: object) -> FunctionType | None:
    while isinstance(value, (MethodType, partial, staticmethod, classmethod)):
        value = value.func if isinstance(value, partial) else value.__func__
    return value if isinstance(value, FunctionType) else None


def _package(value: FunctionType | type) -> str:
    return str(value.__module__).partition(".")[0]


def _is_compiled(function: FunctionType) -> bool:
    """Whether a function is compiled. flex_attention compiles itself unless its caller is."""
    return function.__code__.co_qualname.startswith(_WRAPPER) or (
        function.__module__ == _FLEX and function.__name__ == "flex_attention"
    )
