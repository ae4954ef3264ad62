"""Whether a forward runs through compiled code: the tap must then stay out of the real one.

Dynamo guards on the stack of torch-function modes. A compiled region called under the tap would be
compiled again, with the tap traced into it, or run eagerly for ever.

Three ways to know: run it eagerly and look at the stack (`CompiledRegions`); read what the modules
hold and name (`reaches_compiled`); notice afterwards that something was compiled (`compilations`).
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

_WRAPPER = "_TorchDynamoContext.__call__."
"""Where torch/_dynamo/eval_frame.py defines what torch.compile returns. That of
torch.compiler.disable, as around activation checkpointing, is a DisableContext's."""

_FLEX = "torch.nn.attention.flex_attention"


class CompiledRegions(TorchFunctionMode):
    """Notes whether any torch function is called from within a compiled function or module.

    To be pushed where compiled code runs eagerly (`torch.compiler.set_stance("force_eager")`), so
    that its calls are seen one by one. It walks the Python stack at every call: for discovery.
    """

    found = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if not self.found:
            self.found = _within_compiled(sys._getframe(1))
        return func(*args, **(kwargs or {}))


def _within_compiled(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_qualname.startswith(_WRAPPER):
            return True
        frame = frame.f_back
    return False


def compilations() -> int:
    """How many pieces of code this process has given to the compiler so far."""
    utils = sys.modules.get("torch._dynamo.utils")
    return 0 if utils is None else int(utils.counters.get("frames", {}).get("total", 0))


def reaches_compiled(model: nn.Module) -> bool:
    """Whether its modules, or what their forwards name, are or hold a compiled function.

    Read, not run: a function that is only found while the forward runs is not seen.
    """
    search = _Search()
    return any(search.module(module) for module in model.modules())


class _Search:
    """Follows the names in functions, within a package; each function once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def module(self, module: nn.Module) -> bool:
        held = [*vars(module).values()]
        for value in vars(module).values():
            if isinstance(value, (list, tuple)):
                held += value
            elif isinstance(value, dict):
                held += value.values()
        kind = type(module)
        return any(self._finds(value, kind) for value in (*held, kind.forward, kind.__call__))

    def _finds(self, value: object, kind: type) -> bool:
        """kind: the class whose attributes a name may mean."""
        function = _plain(value)
        if function is None or id(function) in self._seen:
            return False
        self._seen.add(id(function))
        return _is_compiled(function) or any(
            self._finds(named, kind) for named in _named_by(function, kind)
        )


def _named_by(function: FunctionType, kind: type) -> Iterator[object]:
    """What its code can mean by the names in it. Of other packages only what is compiled."""
    yield from _enclosed_by(function)
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    for name in names:
        meant = [function.__globals__.get(name), getattr(kind, name, None)]
        if isinstance(meant[0], ModuleType):
            meant += [vars(meant[0]).get(other) for other in names]
        for value in meant:
            plain = _plain(value)
            if plain is not None and (_is_compiled(plain) or _package(plain) == _package(kind)):
                yield plain


def _enclosed_by(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # nothing was put into it yet
            pass


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code and that of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _plain(value: object) -> FunctionType | None:
    while isinstance(value, (MethodType, partial)):
        value = value.func if isinstance(value, partial) else value.__func__
    return value if isinstance(value, FunctionType) else None


def _package(value: FunctionType | type) -> str:
    return str(value.__module__).partition(".")[0]


def _is_compiled(function: FunctionType) -> bool:
    """flex_attention compiles itself, where nobody has compiled its caller."""
    return function.__code__.co_qualname.startswith(_WRAPPER) or (
        function.__module__ == _FLEX and function.__name__ == "flex_attention"
    )
