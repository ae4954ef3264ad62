"""The first look at a model: which attention it has, and how its inputs hold the samples.

It probes the model with one dimension of the inputs after the other, until the attention is that
of one sample.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from torch import nn

from attnmon.capture.calls.attention_call import AttentionCall, UnknownOrder
from attnmon.capture.calls.call_info import CallInfo
from attnmon.capture.handwritten.matcher import HANDWRITTEN
from attnmon.capture.model.compiled import CompiledRegions
from attnmon.capture.model.inputs import ForwardFunction, model_call, same_batch
from attnmon.capture.model.module_names import unwrap
from attnmon.capture.probe import probe
from attnmon.capture.tap_listener import CallListener

BatchDim = int | Literal["auto"] | None
"""Dimension of the inputs that holds the samples; "auto" to find it; None for no batch."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """The attention calls of one forward, and how its inputs hold the samples."""

    call_infos: tuple[CallInfo, ...]
    """The attention calls, in order."""
    refusals: tuple[tuple[str, int | None, str], ...]
    """(module, call index, reason) of attention that was seen but cannot be captured."""
    batch_dim: int | None
    """Dimension of the inputs that holds the samples; None if they are one sample without it."""
    sample: int
    """Index of the sample used: the requested one, or the last of a smaller batch."""
    batch: int
    """Number of samples in the inputs."""
    compiled: bool
    """Whether the model's own forward runs compiled code, which must not be tapped."""
    is_whole: bool = False
    """Whether the forward was of all samples, because one cannot be cut out of the inputs."""

    @property
    def samples(self) -> int:
        """The number of samples that the forward was of; 0 if that is not known."""
        return self.batch if self.is_whole else 1

    @property
    def handwritten(self) -> bool:
        """Whether any call was found by following tensors to a softmax."""
        return any(info.source == HANDWRITTEN for info in self.call_infos)

    @property
    def is_one_sample(self) -> bool:
        """Whether the attention is that of one sample with more than one position."""
        return min((info.batch for info in self.call_infos), default=0) == 1 and self.positions > 1

    @property
    def positions(self) -> int:
        """The most positions that any of the maps has on both sides; 0 without maps."""
        return max((min(info.queries, info.keys) for info in self.call_infos), default=0)

    def divides(self, dim: int) -> bool | None:
        """Whether maps of different places in a dimension of the inputs are separate ones.

        None where it is known of no layer where its tensors come from.
        """
        layouts = [info.layout for info in self.call_infos if info.layout is not None]
        return any(layout.divides[dim] for layout in layouts) if layouts else None


class _Run(Protocol):
    """Runs the model with this batch dimension, on so many samples."""

    def __call__(self, candidate: int | None, count: int = 1, /) -> Discovery: ...


class NotDivisible(Exception):
    """A model that can be called with its whole batch only. The message says how it failed."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(f"cannot be called with one sample: {type(failure).__name__}: {failure}")


def discover(
    model: nn.Module,
    enc: Any,
    dec: Any,
    *,
    sample: int = 0,
    batch_dim: BatchDim = "auto",
    forward_fn: ForwardFunction | None = None,
) -> Discovery:
    """Finds the model's attention calls, and the dimension along which its inputs hold samples.

    "auto" tries the dimensions 0 and 1, then no batch at all, and takes the first with which the
    attention is that of one sample; it runs one forward where 0 is right. Reads values off the
    device: for the first capture only. Raises `InputError`, `NotDivisible`, and what the model's
    forward raises.
    """
    listener = _DiscoveryListener()

    def run(candidate: int | None, count: int = 1) -> Discovery:
        return _discover(model, enc, dec, sample, candidate, forward_fn, listener, count)

    found = _first_fitting(run, enc, dec) if batch_dim == "auto" else run(batch_dim)
    if found.batch > 1 and not found.is_whole:
        found = _without_mixed_samples(found, run)
    listener.raise_error()
    return found


def _without_mixed_samples(found: Discovery, run: "_Run") -> Discovery:
    """Returns the discovery without the calls whose maps are of more than one sample.

    One sample alone cannot show that: the model is run on two. Raises `NotDivisible` where what was
    taken for samples are positions, as the nodes of graphs are.
    """
    try:
        pair = run(found.batch_dim, 2)
    except Exception as failure:  # it takes one, or all of them
        if found.batch_dim is not None and not _is_confirmed(run, found.batch_dim):
            raise NotDivisible(failure) from None
        return found
    if _has_grown(found, pair):
        raise NotDivisible(ValueError("its maps grow with the number of samples"))
    known = {(name, call_index) for name, call_index, _ in found.refusals}
    refusals = [r for r in pair.refusals if r[1] is not None and r[:2] not in known]
    refused = {(name, call_index) for name, call_index, _ in refusals}
    infos = tuple(i for i in found.call_infos if (i.name, i.call_index) not in refused)
    return replace(found, call_infos=infos, refusals=(*found.refusals, *refusals))


def _has_grown(one: Discovery, pair: Discovery) -> bool:
    """Returns whether two samples have no more maps than one, but larger ones."""
    sizes = {(i.name, i.call_index): (i.queries, i.keys) for i in one.call_infos}
    return any(
        info.layout is None
        and info.batch == 1
        and sizes.get((info.name, info.call_index), (0, 0)) < (info.queries, info.keys)
        for info in pair.call_infos
    )


def _first_fitting(run: "_Run", enc: Any, dec: Any) -> Discovery:
    """Returns the discovery with the first batch dimension that fits, else the likeliest."""
    failures: list[Exception] = []
    is_divided = False
    doubtful: list[Discovery] = []
    for candidate in (0, 1, None):
        try:
            found = run(candidate)
        except Exception as error:  # a wrong dimension makes most models raise
            failures.append(error)
            continue
        if candidate != 0 and (found.divides(0) or (len(failures) == 2 and found.divides(1))):
            is_divided = True
            continue
        if candidate == 1 and not _is_confirmed(run, 1):
            continue
        if found.is_whole or (found.is_one_sample and same_batch(enc, dec, candidate)):
            return found
        doubtful.append(found)
    if doubtful:
        best = max(doubtful, key=lambda found: found.is_one_sample)  # of equals, the first
        if best.positions < max(found.positions for found in doubtful):
            raise NotDivisible(ValueError("its maps are smaller then"))
        if failures and best.refusals and not best.call_infos:
            raise NotDivisible(failures[0])
        return best
    raise NotDivisible(failures[0]) if is_divided else failures[0]


def _is_confirmed(run: "_Run", dim: int) -> bool:
    """Returns whether a forward of all samples may have them in this dimension of its inputs."""
    try:
        whole = run(None)
    except Exception:
        return False
    is_refused = bool(whole.refusals) and not whole.call_infos
    return whole.divides(dim) is not False and not (is_refused and dim == 0)


def _discover(
    model: nn.Module,
    enc: Any,
    dec: Any,
    sample: int,
    batch_dim: int | None,
    forward_fn: ForwardFunction | None,
    listener: "_DiscoveryListener",
    count: int,
) -> Discovery:
    arranged: dict[str, Any] = {
        "sample": sample, "batch_dim": batch_dim, "forward_fn": forward_fn, "count": count,
    }  # fmt: skip
    listener.begin(model_call(unwrap(model), enc, dec, **arranged).samples_given)
    with CompiledRegions() as regions:
        call = probe(model, enc, dec, listener, **arranged)
    compiled = regions.found or any("_orig_mod" in module._modules for module in model.modules())
    refused = {(name, call_index) for name, call_index, _ in listener.refusals}
    infos = [i for i in listener.call_infos if (i.name, i.call_index) not in refused]
    return Discovery(
        tuple(infos),
        tuple(listener.refusals),
        batch_dim,
        call.sample,
        call.batch,
        compiled,
        call.is_whole,
    )


class _DiscoveryListener(CallListener):
    """Describes the calls of one forward, without their tensors."""

    def __init__(self) -> None:
        super().__init__(self._describe)
        self.call_infos: list[CallInfo] = []
        self.refusals: list[tuple[str, int | None, str]] = []
        self._samples = 1

    def _describe(self, call: AttentionCall) -> None:
        samples = self._samples if call.layout is None else call.batch
        try:
            self.call_infos.append(CallInfo.of(call, samples))
        except UnknownOrder as reason:
            self.refusals.append((call.name, None, str(reason)))

    def on_unsupported(self, module: str, reason: str, call_index: int | None = None) -> None:
        self.refusals.append((module, call_index, reason))

    def begin(self, samples: int) -> None:
        """Begins with a forward of so many samples; forgets the one before, but not its error."""
        self.call_infos, self.refusals, self._samples = [], [], samples
