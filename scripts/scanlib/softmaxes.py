"""An oracle: every softmax of a forward, seen where torch dispatches its operators.

It shares nothing with what it judges, which sees torch's functions from above: fused attention is
computed by its plain definition here, so that its softmax is an operator like any other.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ATEN = torch.ops.aten
SOFTMAXES = {ATEN._softmax.default, ATEN._safe_softmax.default}
FUSED = {ATEN._scaled_dot_product_flash_attention_for_cpu.default}
"""Who asks for a fused kernel by name gets it, whatever else is set."""
PRODUCTS = {ATEN.bmm.default, ATEN.mm.default, ATEN.addmm.default, ATEN.baddbmm.default}


@dataclass(frozen=True, eq=False)
class Product:
    """A product of weights and values, as it was computed, each [maps, …, …]."""

    weights: Tensor
    values: Tensor
    output: Tensor

    @classmethod
    def of(cls, factors: list[Tensor], output: Tensor, index: int) -> "Product":
        """index: which of the factors is the weights; the second is taken turned over."""
        weights, values = factors if index == 0 else (factors[1].mT, factors[0].mT)
        parts = (weights, values, output if index == 0 else output.mT)
        return cls(*(part.reshape(-1, *part.shape[-2:]).double() for part in parts))

    def is_of(self, weights: Tensor, tolerance: float) -> bool:
        """Whether these weights [maps, queries, keys] times the values are the output."""
        expected = weights.double() @ self.values
        size = max(1.0, float(self.values.abs().max()))
        return bool(torch.allclose(expected, self.output, rtol=0, atol=tolerance * size))


@dataclass(eq=False)
class Softmax:
    """One softmax of a forward."""

    module: str
    """Name of the innermost module that was running."""
    weights: Tensor
    last: bool
    """Whether it is over the last dimension."""
    of_product: bool
    """Whether its logits come from a product of two activations."""
    factors: list[Tensor] = field(default_factory=list)
    """Its weights as they stand in each product they are a factor of."""
    products: list[Product] = field(default_factory=list)
    used_in: str | None = None
    """Name of the innermost module that was running at its first product."""

    @property
    def modules(self) -> set[str]:
        """The names by which a map of it may be called."""
        return {self.module} if self.used_in is None else {self.module, self.used_in}

    @property
    def is_token_attention(self) -> bool:
        """Whether it is a softmax of query · key, whose weights average values."""
        shape = self.weights.shape
        return self.of_product and bool(self.factors) and len(shape) > 1 and shape[-1] > 1

    def forms(self) -> Iterator[Tensor]:
        """Yields its maps [maps, queries, keys], as computed and as used."""
        for tensor in (self.weights, *self.factors):
            yield tensor.reshape(-1, *tensor.shape[-2:])
        for product in self.products:  # those that are turned over, as they are meant
            yield product.weights


class SoftmaxLog(TorchDispatchMode):
    """Follows the storages of products, of softmax weights and of parameters through a forward."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[Softmax] = []
        self._running: list[str] = [""]
        self._names = {id(module): name for name, module in model.named_modules()}
        self._products: set[int] = set()
        self._weights: dict[int, Softmax] = {}
        self._parameters = {_storage(parameter) for parameter in model.parameters()}
        self._kept: list[Tensor] = []
        """Storages are told apart by address: none may be freed meanwhile."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self._kept += outputs
        if func in SOFTMAXES:
            self._note_softmax(inputs[0], outputs[0], args[1])
        elif func in FUSED:
            self._note_fused(*args[:5], output=outputs[0], **(kwargs or {}))
        elif func in PRODUCTS:
            self._note_product(inputs[-2:], outputs[0])
        else:
            self._pass_on(inputs, outputs)
        return result

    def _note_softmax(self, logits: Tensor, weights: Tensor, dim: int) -> None:
        last = dim % max(1, weights.dim()) == weights.dim() - 1
        found = Softmax(self._running[-1], weights, last, _storage(logits) in self._products)
        self.found.append(found)
        self._weights[_storage(weights)] = found

    def _note_fused(
        self, query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0, causal: bool = False,
        *, output: Tensor, attn_mask: Tensor | None = None, scale: float | None = None,
    ) -> None:  # fmt: skip
        logits = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        if causal:
            later = torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1)
            logits = logits.masked_fill(later, -torch.inf)
        weights = (logits if attn_mask is None else logits + attn_mask).softmax(-1)
        product = Product.of([weights, value], output, 0)
        self.found.append(Softmax(self._running[-1], weights, True, True, [weights], [product]))

    def _note_product(self, factors: list[Tensor], output: Tensor) -> None:
        learned = [_storage(factor) in self._parameters for factor in factors]
        for index, factor in enumerate(factors):
            if (softmax := self._weights.get(_storage(factor))) is None:
                continue
            if any(learned):  # the heads are mixed: it may be a factor later
                self._weights.setdefault(_storage(output), softmax)
            else:
                if not softmax.factors:
                    softmax.used_in = self._running[-1]
                softmax.factors.append(factor)
                softmax.products.append(Product.of(factors, output, index))
        if not any(learned):
            self._products.add(_storage(output))

    def _pass_on(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """Marks what has as many elements as a marked input: it is that input, changed."""
        learned = bool(inputs) and all(_storage(each) in self._parameters for each in inputs)
        for output in outputs:
            storage = _storage(output)
            if learned:
                self._parameters.add(storage)
            for each in inputs:
                if each.numel() > output.numel():
                    continue
                if _storage(each) in self._products:
                    self._products.add(storage)
                if (softmax := self._weights.get(_storage(each))) is not None:
                    self._weights.setdefault(storage, softmax)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Keeps the name of the module that is running."""

        def enter(module: nn.Module, _: object) -> None:
            self._running.append(self._names.get(id(module), self._running[-1]))

        def leave(module: nn.Module, *_: object) -> None:
            self._running.pop()

        handles = (
            register_module_forward_pre_hook(enter),
            register_module_forward_hook(leave, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def softmaxes(model: nn.Module, inputs: Any, call: Any) -> list[Softmax]:
    """Returns every softmax of this forward, in order; raises what the forward raises."""
    log = SoftmaxLog(model)
    before = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, before)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(log.following())
        stack.enter_context(torch.no_grad())
        stack.enter_context(log)
        call(model, inputs)
    return log.found


def _storage(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse and opaque tensors have none
        return id(tensor)
