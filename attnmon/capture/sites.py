"""Where in a forward to look: the modules that attend, once they are known.

Under the tap every torch call takes a microsecond or two more. Looking into the attention modules
alone, and not at what the rest of a forward computes, spares most of that.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import MethodType
from typing import Any

from torch import nn

from attnmon.capture.tap import Tap


@contextmanager
def looked_into(tap: Tap, modules: Collection[nn.Module]) -> Iterator[None]:
    """While this lasts, the forward of each of these modules runs under the tap.

    It takes the place of the module's `forward` and no hook's, so that nothing that asks for hooks
    (the fast path of `nn.TransformerEncoder`) sees a difference.
    """
    own = [(vars(module), vars(module).get("forward")) for module in modules]
    try:
        for module in modules:
            vars(module)["forward"] = _LookedInto(tap, module)
        yield
    finally:
        for attributes, forward in own:
            if forward is None:
                attributes.pop("forward", None)
            else:
                attributes["forward"] = forward


class _LookedInto:
    """Stands in for a module's forward; a module that is copied in the meantime has its own."""

    def __init__(self, tap: Tap, module: nn.Module) -> None:
        self.__wrapped__: Callable[..., Any] = module.forward  # `inspect.signature` asks for it
        self._tap = tap
        self._module = module
        self._thread = get_ident()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if get_ident() != self._thread:
            return self.__wrapped__(*args, **kwargs)
        with self._tap.inside(self._module):
            return self.__wrapped__(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., Any]:
        return MethodType(type(self._module).forward, memo[id(self._module)])

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, str]]:
        return getattr, (self._module, "forward")
