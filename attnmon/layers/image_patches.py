"""Tells which layers' positions are patches of the image that a model sees, and in what grid.

A model that cuts its image by a convolution tells the grid, and its parameters tell how many class
tokens and registers it has. What is not told is assumed only where one answer fits, and said.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from attnmon.capture import module_names, unwrap
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.sample_image import PatchedLayer

_TOKENS = r"_?(tok|token|emb|embed|embedding)s?"
_CLASS = re.compile(rf"cls|(cls|class){_TOKENS}")
_REGISTERS = re.compile(rf"regs?|registers?|(reg|register|dist|distillation){_TOKENS}")


class NoPatches(ValueError):
    """A layer's positions are not the patches of the image; the message says why."""


@dataclass(frozen=True, slots=True)
class PatchCut:
    """How a part of a model cuts its image into patches, and what tokens it adds to them."""

    scope: str
    """The layers that see them: those whose names begin so."""
    patch: tuple[int, int] | None
    """(height, width) in pixels; None where no convolution tells it."""
    classes: int
    registers: int
    """Learned tokens that are neither patches nor the class's."""
    prefix: int | None
    """How many tokens the model says come before the patches; None where it does not say."""


ImageSize = tuple[int, int]
"""(rows, columns) in pixels."""
Grid = tuple[int, int]
"""(rows, columns) of patches."""


def find_cuts(model: nn.Module, attending: Iterable[str]) -> tuple[PatchCut, ...]:
    """Return each way in which the model cuts an image.

    `attending`: names of modules in which attention was seen.
    """
    root = unwrap(model)
    names = module_names(root)
    named = {names[id(module)]: module for module in root.modules()}
    scopes = {
        _scope(name, attending): _patch_of(module)
        for name, module in named.items()
        if _patch_of(module) is not None
    }
    return tuple(
        _cut(named.get(scope, root), scope, patch)
        for scope, patch in (scopes or {"": None}).items()
    )


def patched_layer(
    attention: Attention, cuts: Iterable[PatchCut], size: ImageSize, given: Grid | None
) -> PatchedLayer:
    """Return in what grid a layer sees the patches of an image of this size.

    `given`: the grid that the user gave. Raises `NoPatches`.
    """
    _, queries, keys = attention.shape
    name = attention.name or "the layer"
    cut = next((cut for cut in cuts if _is_inside(attention.name, cut.scope)), None)
    if cut is None:
        raise NoPatches(f"{name} is not of the part of the model that sees the image")
    if "windows" in attention.note:
        raise NoPatches(f"{name} attends within windows of the image, of which one is seen")
    if attention.type != "self_attention" or queries not in (1, keys):
        raise NoPatches(
            f"{name} has {queries} queries and {keys} keys: no patches among each other"
        )
    (rows, columns), remarks = _grid(cut, keys, size, given, name)
    earlier = keys - rows * columns
    if not _is_told(cut, earlier):
        if given is None:
            raise NoPatches(_unexplained(cut, earlier, rows, columns, name))
        remarks = (*remarks, f"{earlier} tokens are taken to come before the patches")
    has_class = _has_class(cut, earlier, name)
    if has_class and not cut.classes:
        remarks = (*remarks, "the first token is taken for the class token's")
    return PatchedLayer(
        attention.stack, attention.layer, attention.type,
        rows, columns, earlier, has_class, " · ".join(remarks),
    )  # fmt: skip


def _patch_of(module: nn.Module) -> tuple[int, int] | None:
    """Return the size of the patches that this module cuts; None if it cuts no image."""
    if not isinstance(module, nn.Conv2d) or module.in_channels not in (1, 3):
        return None
    height, width = module.kernel_size
    is_cut = module.stride == (height, width) and module.padding in ((0, 0), "valid")
    return (height, width) if is_cut and min(height, width) > 1 else None


def _scope(name: str, attending: Iterable[str]) -> str:
    """Return the innermost module that holds this one and some that attend."""
    while name:
        name = name.rpartition(".")[0]
        if any(_is_inside(other, name) for other in attending):
            break
    return name


def _is_inside(name: str, scope: str) -> bool:
    return not scope or name == scope or name.startswith(scope + ".")


def _cut(module: nn.Module, scope: str, patch: tuple[int, int] | None) -> PatchCut:
    prefix = getattr(module, "num_prefix_tokens", None)
    return PatchCut(
        scope,
        patch,
        _tokens(module, _CLASS),
        _tokens(module, _REGISTERS),
        prefix if isinstance(prefix, int) else None,
    )


def _tokens(module: nn.Module, pattern: re.Pattern[str]) -> int:
    """Return how many tokens the parameters of such a name stand for."""
    found = (
        parameter
        for name, parameter in module.named_parameters()
        if pattern.fullmatch(name.rpartition(".")[2])
    )
    return sum(int(p.shape[-2]) if p.ndim > 1 else 1 for p in found)


def _grid(
    cut: PatchCut, keys: int, size: ImageSize, given: Grid | None, name: str
) -> tuple[Grid, tuple[str, ...]]:
    """Return the grid, and what is to be said of it."""
    if given is not None:
        if math.prod(given) > keys:
            raise NoPatches(f"{name} has {keys} positions, fewer than patch_grid={given}")
        return given, ()
    if cut.patch is not None:
        grid = size[0] // cut.patch[0], size[1] // cut.patch[1]
        if not 0 < math.prod(grid) <= keys:
            raise NoPatches(
                f"{name} has {keys} positions, and the image {grid[0]} × {grid[1]} patches: it "
                "attends within windows, or to other patches than these"
            )
        return grid, ()
    learned = {0, 1, cut.classes, cut.classes + cut.registers}
    fitting = [found for earlier in learned if (found := _square_grid(keys - earlier, size))]
    if len(fitting) == 1:
        return fitting[0], ("a grid of {} × {} is assumed".format(*fitting[0]),)
    several = "several grids of" if fitting else "no"
    raise NoPatches(
        f"{name} has {keys} positions, and {several} square patches of {size[0]} × {size[1]} "
        "pixels give so many; say patch_grid=(rows, columns)"
    )


def _square_grid(patches: int, size: ImageSize) -> Grid | None:
    """Return the grid in which so many square patches fill the image; None if they do not."""
    side = math.isqrt(math.prod(size) // max(1, patches))
    if side < 2 or size[0] % side or size[1] % side:
        return None
    grid = size[0] // side, size[1] // side
    return grid if math.prod(grid) == patches else None


def _is_told(cut: PatchCut, earlier: int) -> bool:
    """Return whether so many tokens beside the patches are those that the model has learned."""
    learned = cut.classes + cut.registers
    return earlier in (0, cut.classes, learned) or (not learned and earlier == 1)


def _unexplained(cut: PatchCut, earlier: int, rows: int, columns: int, name: str) -> str:
    return (
        f"{name} has {earlier} positions beside {rows} × {columns} patches, and the model has "
        f"{cut.classes + cut.registers} class and register tokens; say patch_grid=(rows, columns)"
    )


def _has_class(cut: PatchCut, earlier: int, name: str) -> bool:
    """Return whether the first of the tokens beside the patches is the class token's."""
    if earlier and cut.registers and not cut.classes and cut.prefix != earlier:
        raise NoPatches(f"{name}: whether its registers come before the patches is not told")
    return earlier > 0 and (cut.classes > 0 or not cut.registers)
