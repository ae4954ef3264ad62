"""The tap: a torch-function mode that sees each torch call of a forward and reports attention.

It changes no argument and no result. It is pushed only for a forward that is captured, and costs
nothing at any other time.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, has_torch_function

from attnmon.capture.calls.adapter import (
    Adapter,
    CallSite,
    UnsupportedCall,
    require_no_transform,
)
from attnmon.capture.calls.attention_call import AttentionCall
from attnmon.capture.calls.shapes import ShapeError
from attnmon.capture.handwritten.matcher import ValueProduct
from attnmon.capture.handwritten.operations import Operation, operation_of
from attnmon.capture.handwritten.provenance import Provenance
from attnmon.capture.kernels import multi_head
from attnmon.capture.kernels.kernel_registry import adapter_of, scaled_dot_product_attention
from attnmon.capture.kernels.sdpa import sdpa_call
from attnmon.capture.layouts import KnownLayouts, Layouts
from attnmon.capture.lineage.layout import RefusedLayout, StaleLayout
from attnmon.capture.model.module_names import calling_module, heads_of
from attnmon.capture.tap_listener import TapListener

_UNUSED = (
    "a softmax over query · key whose weights were in no product with values that is known: "
    "give them to record()"
)
_COMBINED = (
    "several softmaxes, or parts of one, are combined into its attention: none of them is a map by "
    "itself. Give the weights that you mean to record()"
)
_DIVIDED = (
    "it is called several times, each time for another part of the inputs, as for one sample or "
    "chunk after the other: its calls are no layers. Give the weights that you mean to record()"
)
_MULTI_HEAD = multi_head.torchs_own()
_is_grad_enabled, _set_grad_enabled = torch.is_grad_enabled, torch._C._set_grad_enabled
_PLAIN_TENSORS = torch._C.DisableTorchFunctionSubclass
"""Around our own code: what a class of tensors does at a call is for the user's calls alone."""
_PLAIN_CALLS = torch._C.DisableTorchFunction
"""The same, and without function modes: those of a discovery would see our thousand calls, too."""


class Tap(TorchFunctionMode):
    """Reports each attention call made in its scope to a listener, from inside the call.

    names: modules' names by id (`module_names`).
    handwritten: whether to follow tensors through attention that is computed without a fused
    kernel. A torch call under the tap takes about one microsecond more; with it, several.
    layouts: where each layer's tensors hold samples and heads. None takes them as they usually are.

    The model's exceptions propagate. What activation checkpointing computes again during backward
    is not reported twice.
    """

    def __init__(
        self,
        names: Mapping[int, str],
        listener: TapListener,
        handwritten: bool = True,
        layouts: Layouts | None = None,
    ) -> None:
        super().__init__()
        self.names = names
        """Modules' names by id; a module that is not among them has none."""
        self._listener = listener
        self._calls: Counter[str] = Counter()
        self._heads: list[int] = []
        self._was_on: list[bool] = []
        self._handwritten = handwritten
        self._layouts = layouts or KnownLayouts()
        self._provenance = Provenance(self._layouts.labels_of)
        self._follow = self._layouts.after if self._layouts.follows else None
        self._plain = _PLAIN_CALLS if self._layouts.follows else _PLAIN_TENSORS
        self.module: nn.Module | None = None
        """The module that runs, where only modules are tapped; None where the whole forward is."""
        self.is_on = False
        """Whether it is on the stack of function modes."""
        self.reported = 0
        """Calls reported so far."""
        self.reported_by_name = 0
        """Those of functions that were looked up by name (`call_by_name`)."""
        self._softmaxes: list[str] = []
        """For each softmax over scores, the name of its module."""
        self._used_softmaxes: set[int] = set()
        """Those whose weights were in a product with values: each is one map."""

    def __enter__(self) -> "Tap":
        self._was_on.append(self.is_on)
        super().__enter__()  # type: ignore[no-untyped-call]
        self.is_on = True
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        self.is_on = self._was_on.pop()
        if not self._heads and self.module is None and exception[0] is None:
            self.finish()

    def call_by_name(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Makes a call that `NamedCalls` has seen, and reports it as if this mode were on.

        function: `scaled_dot_product_attention` or `multi_head_attention_forward`.
        """
        if self.is_on:
            before = self.reported
            result = function(*args, **kwargs)
            self.reported_by_name += self.reported - before
            return result
        if torch._C._current_graph_task_id() != -1 or self.module is None:
            return function(*args, **kwargs)
        if has_torch_function((*args, *kwargs.values())):
            with self:
                return function(*args, **kwargs)
        if function is _MULTI_HEAD:
            return self._enter_multi_head(args, kwargs)
        return self._run_kernel(scaled_dot_product_attention, function, *args, **kwargs)

    def finish(self) -> None:
        """Reports the softmaxes that are no map by themselves. Call it after the forward."""
        combined = {self._softmaxes[index] for index in self._provenance.combined}
        self._refuse_calls(combined, _COMBINED)
        self._refuse_calls(self._layouts.divided, _DIVIDED)
        for index, name in enumerate(self._softmaxes):
            told = self._used_softmaxes | self._provenance.assumed
            if index not in told and name not in combined:
                self._guard(self._listener.on_unsupported, name, _UNUSED)
        self._softmaxes.clear()
        self._provenance.combined.clear()

    def _refuse_calls(self, names: Iterable[str], reason: str) -> None:
        """Reports all calls of these modules as no maps."""
        for name in names:
            for call_index in range(self._calls[name]) or (None,):
                self._guard(self._listener.on_unsupported, name, reason, call_index)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if torch._C._current_graph_task_id() != -1:  # in backward, which checkpointing uses
            return func(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            if multi_head.can_enter(types):
                return self._enter_multi_head(args, kwargs)
            if not torch._C._len_torch_function_stack():  # or it is another mode's turn
                return self._enter_class(func, types, args, kwargs)
        try:
            adapter, operation = adapter_of(func), operation_of(func)
        except Exception as error:
            self._listener.on_error(error)
            return func(*args, **kwargs)
        if operation is not None and self._handwritten:
            result = self._run_tracked(operation, func, args, kwargs)
        elif adapter is not None:
            result = self._run_kernel(adapter, func, *args, **kwargs)
        else:
            result = func(*args, **kwargs)
        if self._follow is not None:
            self._guard(self._follow, func, args, kwargs, result)
        return result

    def _enter_multi_head(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the inside of `multi_head_attention_forward` so that its attention is seen.

        Without `need_weights` its attention is one fused kernel, and only that call is observed.
        """
        self._heads.append(multi_head.number_of_heads(args, kwargs))
        kernel = multi_head.fused_kernel()
        adapter = None if multi_head.needs_weights(args, kwargs) else adapter_of(kernel)
        try:
            if adapter is not None:
                observed = partial(self._run_kernel, adapter, kernel)
                inner = multi_head.inner_function(scaled_dot_product_attention=observed)
                return inner(*args, **kwargs)
            with self:
                return multi_head.inner_function()(*args, **kwargs)
        finally:
            self._heads.pop()

    def _enter_class(
        self, func: Callable[..., Any], types: Sequence[type], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Has a class of tensors handle the call, as it does without a mode, under the tap."""
        reported = self._calls.total()
        self._heads.append(multi_head.number_of_heads(args, kwargs))
        try:
            with self:
                result = multi_head.handled_by_class(func, types, args, kwargs)
        finally:
            self._heads.pop()
        if result is NotImplemented:
            return func(*args, **kwargs)
        if self._calls.total() == reported:
            self._guard(
                self._report_kernel, multi_head.multi_head_attention_forward, result, (), {}
            )
        return result

    def _run_kernel(
        self, adapter: Adapter, kernel: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        result = kernel(*args, **kwargs)
        if self.module is None or adapter is not scaled_dot_product_attention:
            self._guard(self._report_kernel, adapter, result, args, kwargs)
        elif not self._is_alike_in_module(self.module, args, kwargs):
            self._guard(self._describe_kernel, adapter, self.module, result, args, kwargs)
        return result

    def _is_alike_in_module(self, module: nn.Module, args: Any, kwargs: Any) -> bool:
        """Does what `_is_alike` does, as `_guard` does it, for plain tensors alone.

        It stands around every layer of a capture, and calls no more functions than it has to.
        """
        started, before = perf_counter(), _is_grad_enabled()
        _set_grad_enabled(False)  # as torch.no_grad does, in a third of the time
        try:
            return self._is_alike(module, args, kwargs)
        except Exception as error:
            self._listener.on_error(error)
            return True
        finally:
            _set_grad_enabled(before)
            self._listener.add_time(perf_counter() - started)

    def _run_tracked(
        self, operation: Operation, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        if operation is Operation.DROPOUT:
            self._guard(self._provenance.before_dropout, func, args, kwargs)
        elif operation is Operation.SOFTMAX:
            self._guard(self._before_softmax, args, kwargs)
        result = func(*args, **kwargs)
        try:
            with self._plain():
                product = self._provenance.after(operation, func, args, kwargs, result)
        except Exception as error:
            self._listener.on_error(error)
        else:
            if operation is Operation.SOFTMAX or product is not None:
                self._guard(self._report_handwritten, product)
        return result

    def _report_kernel(self, adapter: Adapter, result: Any, args: Any, kwargs: Any) -> None:
        module = self.module or calling_module(self.names)
        if adapter is scaled_dot_product_attention and self._is_alike(module, args, kwargs):
            return
        self._describe_kernel(adapter, module, result, args, kwargs)

    def _describe_kernel(
        self, adapter: Adapter, module: nn.Module | None, result: Any, args: Any, kwargs: Any
    ) -> None:
        site = self._call_site(module)
        self._describe(site, lambda: self._kernel_call(adapter, site, result, args, kwargs))

    def _is_alike(self, module: nn.Module | None, args: Any, kwargs: Any) -> bool:
        """Reports the call by its arguments alone, if that is enough for the listener."""
        name = self.names.get(id(module), "")
        call_index = self._calls.get(name, 0)
        if not self._layouts.is_usual(name, call_index):
            return False
        sdpa = sdpa_call(name, call_index, *args, **kwargs)
        if sdpa is None or not self._listener.on_sdpa_call(sdpa):
            return False
        self._calls[name] = call_index + 1
        self.reported += 1
        return True

    def _kernel_call(
        self, adapter: Adapter, site: CallSite, result: Any, args: Any, kwargs: Any
    ) -> AttentionCall:
        require_no_transform()
        query = next(
            (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None
        )
        site = self._layouts.place(site, self._layouts.scores_labels(args, kwargs), query)
        return adapter(site, result, *args, **kwargs)

    def _report_handwritten(self, product: ValueProduct | None) -> None:
        site = self._call_site(self.module or calling_module(self.names))
        if len(self._softmaxes) < self._provenance.softmax_count:
            self._softmaxes.append(site.name)
        is_new = product is not None and product.softmax_index not in self._used_softmaxes
        if product is not None and is_new and product.tensors() is not None:
            self._used_softmaxes.add(product.softmax_index)
            self._describe(site, lambda: self._handwritten_call(site, product))

    def _before_softmax(self, args: Any, kwargs: Any) -> None:
        name = self.names.get(id(self.module or calling_module(self.names)), "")
        is_usual = self._layouts.is_usual(name, self._calls[name])
        sample = self._listener.sample if is_usual else None
        self._provenance.before_softmax(args, kwargs, sample)

    def _handwritten_call(self, site: CallSite, product: ValueProduct) -> AttentionCall | None:
        require_no_transform()
        labels = product.leading_labels()
        return product.to_call(self._layouts.place(site, labels, product.weights))

    def _describe(self, site: CallSite, describe: Callable[[], AttentionCall | None]) -> None:
        """Reports the call that is described, or why it cannot be captured."""
        try:
            call = describe()
        except (UnsupportedCall, ShapeError, RefusedLayout) as reason:
            self._listener.on_unsupported(site.name, str(reason), site.call_index)
            self._count(site.name)
        except StaleLayout:
            self._listener.on_stale_layout()
            self._count(site.name)
        else:
            if call is not None:
                self._report(call)

    def _report(self, call: AttentionCall) -> None:
        self._count(call.name)
        self._listener.on_call(call)

    def _count(self, name: str) -> None:
        self._calls[name] += 1
        self.reported += 1

    def _call_site(self, module: nn.Module | None) -> CallSite:
        name = self.names.get(id(module), "")
        heads = self._heads[-1] if self._heads else heads_of(module)
        return CallSite(name, self._calls[name], heads)

    def _guard(self, report: Callable[..., object], *arguments: Any) -> None:
        """Runs attnmon's own code, timed and without gradients; exceptions go to the listener."""
        try:
            with self._listener.timed(), self._plain():
                before = _is_grad_enabled()
                _set_grad_enabled(False)
                try:
                    report(*arguments)
                finally:
                    _set_grad_enabled(before)
        except Exception as error:
            self._listener.on_error(error)
