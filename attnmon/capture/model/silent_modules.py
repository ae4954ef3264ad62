"""Finds the modules that look like attention, and says why nothing may have been seen of them."""

import re
from collections.abc import Collection, Iterator

import torch
from torch import nn

from attnmon.capture.model.module_names import module_names, unwrap

_CLASS = re.compile(r"(attention|attn|mha)(layer|block)?(v?\d+)?$", re.I)
_NAME = re.compile(r"(^|_)(attention|attn|mha)(_?\d+)?$", re.I)
_PROJECTIONS = (
    {"q", "k", "v"}, {"query", "key", "value"}, {"queries", "keys", "values"}, {"q", "kv"},
    {"qk", "v"}, {"qkv"}, {"query_key_value"}, {"c_attn"}, {"query", "key_value"},
)  # fmt: skip
"""What submodules or weights for query, key and value are called, without the words around it."""
_AROUND = re.compile(r"(^|_)(to|w|fc|lin|linear|in|proj|projection|layer|dense|conv|weight)(?=_|$)")

NOTHING_TOLD = (
    "its attention was not seen: it did not run, does not attend by scaled_dot_product_attention, "
    "nn.MultiheadAttention or softmax(query · key) · value, or does so where that cannot be "
    "followed (scripted code, a kernel, another softmax); give its weights to record()"
)
_SCRIPT = (
    "a TorchScript program (torch.jit.script or torch.jit.trace), which runs where it cannot be "
    "looked into; watch the module that it was made of, or give its weights to record()"
)
_EXPORTED = (
    "an exported program (torch.export), whose operators are no calls of torch's functions; watch "
    "the module that it was made of, or give its weights to record()"
)


def silent_modules(model: nn.Module) -> list[tuple[str, str]]:
    """Returns (module, what to say if nothing was seen of it) of what looks like attention.

    Of modules inside each other, the innermost is named; of programs, the outermost.
    """
    names = module_names(model)
    programs: dict[str, str] = {}
    suspects: list[str] = []
    for module in unwrap(model).modules():
        name = names[id(module)]
        if _is_inside(name, programs):
            continue
        if why := _program(module):
            programs[name] = why
        elif _looks_like_attention(module, name):
            suspects.append(name)
    innermost = [name for name in suspects if not _holds_one_of(name, suspects)]
    return [*programs.items(), *((name, NOTHING_TOLD) for name in innermost)]


def is_told(name: str, told: Collection[str]) -> bool:
    """Returns whether one of the told modules is this one, inside it, or holds it directly.

    told: names of the modules of which something is known.
    """
    holder = name.rpartition(".")[0] if name else None
    return any(other in (name, holder) or _is_inside(other, [name]) for other in told)


def _is_inside(name: str, outer: Collection[str]) -> bool:
    return any(not other or name == other or name.startswith(f"{other}.") for other in outer)


def _holds_one_of(name: str, others: Collection[str]) -> bool:
    return any(other != name and _is_inside(other, [name]) for other in others)


def _program(module: nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return _SCRIPT
    graph = getattr(module, "graph", None) if isinstance(module, torch.fx.GraphModule) else None
    if graph is not None and any(
        isinstance(node.target, torch._ops.OpOverload) for node in graph.nodes
    ):
        return _EXPORTED
    return ""


def _looks_like_attention(module: nn.Module, name: str) -> bool:
    if isinstance(module, nn.MultiheadAttention):
        return True
    if type(module).__module__.startswith("torch.nn.") or not any(True for _ in _weights(module)):
        return False
    children = {_bare(name) for name in (*module._modules, *module._parameters)}
    return (
        any(children >= projections for projections in _PROJECTIONS)
        or _CLASS.search(type(module).__name__) is not None
        or _NAME.search(name.rpartition(".")[2]) is not None
    )


def _bare(name: str) -> str:
    """Returns "q" for "q_proj", "to_q", "W_q" and "Wq"."""
    bare = _AROUND.sub("", name.lower()).strip("_")
    return bare[1:] if bare in ("wq", "wk", "wv", "wkv", "wqkv") else bare


def _weights(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yields weights of at least two dimensions: a norm in attention has none."""
    return (p for p in module.parameters() if p.dim() > 1)
