"""The tap: a torch-function mode that looks on while a model computes, and tells its attention.

It changes no argument and no result. Pushed only for the forward that is captured, it costs
nothing at any other time.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from attnmon.capture.calls.adapter import Adapter, CallSite, UnsupportedCall
from attnmon.capture.calls.attention_call import AttentionCall
from attnmon.capture.calls.shapes import LayoutError
from attnmon.capture.handwritten.matcher import ValueProduct
from attnmon.capture.handwritten.operations import Operation, operation_of
from attnmon.capture.handwritten.provenance import Provenance
from attnmon.capture.kernels.kernel_registry import adapter_of, scaled_dot_product_attention
from attnmon.capture.kernels.sdpa import SdpaCall, sdpa_call
from attnmon.capture.model.module_names import calling_module, heads_of

Receive = Callable[[AttentionCall], None]
Recall = Callable[[SdpaCall], bool]
"""Takes a call as it was made, where it is known already; False: it is to be described."""
OnError = Callable[[Exception], None]
OnRefusal = Callable[[str, str], None]
"""Called with a module's name, and why its attention is not told."""

Timed = Callable[[], AbstractContextManager[None]]
"""What stands around all that is done besides the model's own computation."""

_MULTI_HEAD = F.multi_head_attention_forward
_CAN_ENTER = isinstance(_MULTI_HEAD, FunctionType) and (
    "has_torch_function" in _MULTI_HEAD.__code__.co_names
)
"""Not where a user's own function took its place before this module was loaded."""

_NEED_WEIGHTS = 15
"""Its argument `need_weights`, by position."""

_PLAIN = {torch.Tensor, torch.nn.Parameter}
"""Other tensors may want a function's call whole, as this mode would have it."""

_UNUSED = (
    "a softmax over query · key whose weights were in no product with values that is known: "
    "give them to record()"
)


def ignore_refusal(name: str, why: str) -> None:
    """The `OnRefusal` of those who do not ask."""


def know_none(call: SdpaCall) -> bool:
    """The `Recall` of those who want every call described."""
    return False


class Tap(TorchFunctionMode):
    """Tells `receive` each attention call made in its scope, at once, from inside the call.

    names: modules' names by id (`module_names`). Our own exceptions, those of `receive` included,
    go to `on_error`; the model's pass through. What activation checkpointing computes again during
    backward is not told twice. `receive` runs with the mode popped and without gradients.
    timed: counts the time that goes into telling, `receive` included.
    handwritten: whether to follow tensors to attention that is no kernel's; without it, a torch
    call costs a microsecond more than by itself, with it several.
    recall: asked before a call is described, under the same conditions as `receive`.
    """

    def __init__(
        self,
        names: Mapping[int, str],
        receive: Receive,
        on_error: OnError,
        refused: OnRefusal = ignore_refusal,
        handwritten: bool = True,
        timed: Timed = nullcontext,
        recall: Recall = know_none,
    ) -> None:
        super().__init__()
        self._recall = recall
        self._timed = timed
        self._without_gradients = torch.no_grad()  # one for all calls: they are never nested
        self._names = names
        self._receive = receive
        self._on_error = on_error
        self._refused = refused
        self._calls: Counter[str] = Counter()
        self._heads: list[int] = []
        self._handwritten = handwritten
        self._provenance = Provenance()
        self._site: nn.Module | None = None
        self._unused: list[str | None] = []
        """For each softmax over scores, its module, until its weights are used."""

    def __enter__(self) -> "Tap":
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        if not self._heads and self._site is None and exception[0] is None:
            self.finish()

    @contextmanager
    def inside(self, module: nn.Module) -> Iterator[None]:
        """The part of a forward that is this module's. To be closed with `finish`."""
        outer, self._site = self._site, module
        try:
            if outer is None:
                with self:
                    yield
            else:
                yield
        finally:
            self._site = outer

    def finish(self) -> None:
        """The forward is over: say which weights were in no product."""
        for name in self._unused:
            if name is not None:
                self._guard(self._refused, name, _UNUSED)
        self._unused.clear()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if torch._C._current_graph_task_id() != -1:
            return func(*args, **kwargs)
        if func is F.multi_head_attention_forward and _CAN_ENTER and _PLAIN.issuperset(types):
            return self._enter(args, kwargs)
        try:
            adapter, operation = adapter_of(func), operation_of(func)
        except Exception as error:
            self._on_error(error)
            return func(*args, **kwargs)
        if operation is not None and self._handwritten:
            return self._follow(operation, func, args, kwargs)
        if adapter is not None:
            return self._call_kernel(adapter, func, *args, **kwargs)
        return func(*args, **kwargs)

    def _enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the function's inside under this mode, which was popped for the call itself.

        Without `need_weights` its attention is one kernel, and only that is looked at.
        """
        self._heads.append(kwargs["num_heads"] if "num_heads" in kwargs else args[4])
        kernel: Any = _MULTI_HEAD.__globals__.get("scaled_dot_product_attention")
        adapter = None if _needs_weights(args, kwargs) else adapter_of(kernel)
        try:
            if adapter is not None:
                told = partial(self._call_kernel, adapter, kernel)
                return _multi_head_inside(scaled_dot_product_attention=told)(*args, **kwargs)
            with self:
                return _multi_head_inside()(*args, **kwargs)
        finally:
            self._heads.pop()

    def _call_kernel(
        self, adapter: Adapter, kernel: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        result = kernel(*args, **kwargs)
        self._guard(self._tell_kernel, adapter, result, args, kwargs)
        return result

    def _follow(
        self, operation: Operation, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        if operation is Operation.DROPOUT:
            self._guard(self._provenance.before_dropout, func, args, kwargs)
        result = func(*args, **kwargs)
        try:
            weighting = self._provenance.after(operation, func, args, kwargs, result)
        except Exception as error:
            self._on_error(error)
        else:
            if operation is Operation.SOFTMAX or weighting is not None:
                self._guard(self._tell_handwritten, weighting)
        return result

    def _tell_kernel(self, adapter: Adapter, result: Any, args: Any, kwargs: Any) -> None:
        place = self._place()
        if adapter is scaled_dot_product_attention:
            plain = sdpa_call(place, *args, **kwargs)
            if plain is not None and self._recall(plain):
                self._calls[place.name] += 1
                return
        try:
            call = adapter(place, result, *args, **kwargs)
        except (UnsupportedCall, LayoutError) as reason:
            self._refused(place.name, str(reason))
        else:
            self._tell(call)

    def _tell_handwritten(self, weighting: ValueProduct | None) -> None:
        place = self._place()
        if len(self._unused) < self._provenance.softmaxes:
            self._unused.append(place.name)
        call = None if weighting is None else weighting.observed(place)
        if weighting is not None and call is not None:
            self._unused[weighting.number] = None
            self._tell(call)

    def _tell(self, call: AttentionCall) -> None:
        self._calls[call.name] += 1
        self._receive(call)

    def _place(self) -> CallSite:
        module = self._site or calling_module(self._names)
        name = self._names.get(id(module), "")
        heads = self._heads[-1] if self._heads else heads_of(module)
        return CallSite(name, self._calls[name], heads)

    def _guard(self, ours: Callable[..., None], *arguments: Any) -> None:
        try:
            with self._timed(), self._without_gradients:
                ours(*arguments)
        except Exception as error:
            self._on_error(error)


def _needs_weights(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    given = kwargs.get("need_weights", True)
    return bool(args[_NEED_WEIGHTS] if len(args) > _NEED_WEIGHTS else given)


def _multi_head_inside(**instead: Any) -> Callable[..., Any]:
    """The function, but one that does not ask whether a mode wants its call whole.

    instead: what it is to call for other functions. Made anew each time, so that whatever the user
    has put into its module is what it calls.
    """
    function: Any = _MULTI_HEAD
    scope = {**function.__globals__, "has_torch_function": lambda tensors: False, **instead}
    return FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
