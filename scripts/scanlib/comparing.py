"""Compares one captured map with the oracles."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scanlib.captures import Map
from scanlib.softmaxes import Softmax
from scanlib.truth import TOLERANCE, Truth


def mistake(seen: Map, oracles: Truth) -> str:
    """Returns what is wrong with a map, or nothing; or why it cannot be judged."""
    reason = _difference_from_oracles(seen, oracles)
    if not reason and not seen.note and not _gives_the_output(seen, oracles):
        return "its weights times the values are not what the layer computes"
    return reason


def _gives_the_output(seen: Map, oracles: Truth) -> bool:
    """Whether weights · values are the output of a product in its module; true if none fits."""
    near = (each for each in oracles.exact_and_alone if is_of(each, seen.module))
    fitting = [p for each in near for p in each.products if p.weights.shape == seen.weights.shape]
    return not fitting or any(each.is_of(seen.weights, TOLERANCE) for each in fitting)


def _difference_from_oracles(seen: Map, oracles: Truth) -> str:
    if not torch.isfinite(seen.weights).all():
        return "it has weights that are not finite"
    if not seen.note and not _are_weights(seen.weights):
        return "its rows are no weights"
    own = [
        each
        for name, maps in oracles.returned.by_module.items()
        if related(name, seen.module)
        for each in maps
    ]
    if any(equal(seen.weights, each) for each in own):
        return ""
    near = [each for each in oracles.exact_and_alone if is_of(each, seen.module)]
    if not oracles.independent:
        return "unjudged: the samples of a batch influence each other"
    if not near:
        return "there is no softmax in this module"
    forms = [form for each in near for form in each.forms()]
    if any(equal(seen.weights, form) for form in forms):
        return "" if any(_fits(seen, each) for each in near) else _not_tokens(near)
    if seen.note and any(_is_part(seen.weights, form) for form in forms):
        return ""
    if seen.note and any(equal(seen.weights, form) for form in _of_all(seen, oracles)):
        return ""
    return _difference(seen, forms)


def _are_weights(weights: Tensor) -> bool:
    return bool((weights.sum(-1) < 1 + 1e-3).all() and (weights > -TOLERANCE).all())


def _of_all(seen: Map, oracles: Truth) -> Iterator[Tensor]:
    for each in oracles.together:
        if is_of(each, seen.module):
            yield from each.forms()


def _fits(seen: Map, softmax: Softmax) -> bool:
    return softmax.is_token_attention and any(equal(seen.weights, form) for form in softmax.forms())


def _not_tokens(near: Sequence[Softmax]) -> str:
    kind = near[0]
    what = "" if kind.of_product else ": its logits are no product of two activations"
    return f"unjudged: the softmax is not of query · key, or not over values{what}"


def _difference(seen: Map, forms: Sequence[Tensor]) -> str:
    shape = list(seen.weights.shape)
    alike = [form for form in forms if form.shape[1:] == seen.weights.shape[1:]]
    if not alike:
        return f"it is {shape}, and this module's are {sorted({str(list(f.shape)) for f in forms})}"
    counts = sorted({len(form) for form in alike})
    whole = [form for form in alike if len(form) == len(seen.weights)]
    part = any(_is_part(seen.weights, form) for form in alike)
    if part and whole:
        return "its heads are in another order"
    if part:
        return f"it is {shape}: some of {counts} maps, and no note says which"
    if not whole:
        return f"it is {shape}, of {counts} maps, and holds others than these"
    worst = min(float((form - seen.weights).abs().max()) for form in whole)
    return f"its weights are others than the sample's: off by {worst:.2g}"


def equal(seen: Tensor, form: Tensor) -> bool:
    form = form.float()
    if form.shape != seen.shape:
        return False
    return bool(torch.allclose(seen, torch.nan_to_num(form), rtol=0, atol=TOLERANCE))


def _is_part(seen: Tensor, form: Tensor) -> bool:
    """Whether each of these maps is among those of the form."""
    if form.shape[1:] != seen.shape[1:]:
        return False
    differences = (seen[:, None] - torch.nan_to_num(form.float())[None]).abs().flatten(2)
    if not differences.numel():
        return True
    return bool((differences.amax(-1).amin(1) < TOLERANCE).all())


def is_of(softmax: Softmax, module: str) -> bool:
    """Whether a softmax was computed or used in this module, in one in it, or in one around it."""
    return any(related(name, module) for name in softmax.modules)


def related(one: str, other: str) -> bool:
    """Whether one module is the other, or lies inside it."""
    return (
        one == other
        or one.startswith(f"{other}.")
        or other.startswith(f"{one}.")
        or "" in (one, other)
    )
