"""What the model's own latest forward showed, copied and held until it is logged."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from torch import Tensor

from attnmon.capture import (
    AttentionCall,
    CallInfo,
    Inputs,
    SdpaCall,
    TapListener,
    compilations,
)
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.layers.layer_selection import LayerKey
from attnmon.serialize.capture_builder import CaptureBuilder
from attnmon.serialize.device_copy import is_recording_a_graph
from attnmon.session.session import Session


@dataclass(frozen=True, slots=True)
class HeldForward:
    """A capture that waits to be logged, and the inputs of the forward it is of."""

    builder: CaptureBuilder
    inputs: Inputs
    sizes: tuple[int, ...]
    """Of the inputs along the dimension that holds the samples."""

    @property
    def batch(self) -> int:
        """Samples in the batch; 0 where that is not known. One input may be the same for all."""
        return max(self.sizes, default=0)

    def samples_in(self, batch: int) -> int:
        """How many samples an attention of this `batch` is of, as far as the inputs tell.

        Some models turn the first two dimensions of their inputs about.
        """
        if batch in self.sizes:
            return batch
        second = (tensor.shape[1] for tensor in self.inputs if tensor.dim() > 1)
        return batch if batch in second else self.batch

    def sample_in(self, batch: int) -> int:
        """The chosen sample; in an attention of a smaller batch than the inputs told, its last.

        Then that is the one for all layers. What has no batch is the same for all samples.
        """
        if 1 < batch <= self.builder.sample:
            self.builder.sample = batch - 1
        return min(self.builder.sample, batch - 1)

    def is_of(self, logged: Inputs) -> bool:
        """Whether it was the forward of these tensors; of none in particular, any will do."""
        return not logged or any(one is other for one in logged for other in self.inputs)


class ForwardCollector(TapListener):
    """Takes what the tap reports during one forward after another; keeps the latest.

    A model seen for the first time has no places yet: its layers are cloned, one sample of each,
    until the forward is over and the layers are counted.
    """

    def __init__(
        self, session: Session, registry: LayerRegistry, stay_out: Callable[[], None], sample: int
    ) -> None:
        """stay_out: called when the model's own forward turns out to run compiled code."""
        self.retained = False
        """Whether the next forward is of a step that is not due, to be retained only."""
        self._session = session
        self._registry = registry
        self._stay_out = stay_out
        self._wanted = sample
        self._held: HeldForward | None = None
        self._error: Exception | None = None
        self._clones: dict[LayerKey, tuple[CallInfo, AttentionCall]] = {}
        self._strangers = False
        self._compilations = 0

    def on_forward_start(self, inputs: Inputs) -> None:
        """Prepares to hold the capture of a forward of these inputs."""
        self.discard()
        if is_recording_a_graph():
            return
        self._compilations = compilations()
        dim = self._registry.batch_dim
        sizes = (1,) if dim is None else tuple(t.shape[dim] for t in inputs if t.dim() > dim)
        batch = max(sizes, default=0)
        sample = min(self._wanted, batch - 1) if batch else self._wanted
        builder = self._session.new_builder(
            sample=sample, seen_in="forward", retained=self.retained
        )
        self._held = HeldForward(builder, inputs, sizes)

    def on_sdpa_call(self, call: SdpaCall) -> bool:
        """Captures a call of which all but its values is known. Returns whether it did."""
        held, place = self._held, self._registry.places.get((call.name, call.call_index))
        if held is None or place is None or self._error is not None:
            return False
        sample, samples = held.sample_in(call.batch), held.samples_in(call.batch)
        return self._session.serializer.recall(place, call, held.builder, sample, samples)

    def on_call(self, call: AttentionCall) -> None:
        """Captures one attention call of the forward."""
        if self._held is not None and self._error is None:
            self._take(call, self._held)

    def on_unsupported(self, module: str, reason: str) -> None:
        """Notes why the attention of this module is not captured."""
        self._registry.refuse(module, reason)

    def timed(self) -> AbstractContextManager[None]:
        """Counts what happens inside as time that the monitor took from the training."""
        return self._session.counters.timed()

    def on_forward_end(self, completed: bool) -> None:
        """Keeps the capture if the forward completed and the layers are those known."""
        if self._held is not None and compilations() != self._compilations:
            self._stay_out()
            self.discard()
        elif not completed:
            self.discard()
        elif self._error is not None or self._held is None:
            return
        elif self._clones:
            self._deliver_clones()
        elif self._strangers:
            self._registry.learn({})  # it has changed its ways: count its layers anew, all of them
            self.discard()
        elif self._registry.has_overlooked(len(self._held.builder.attentions)):
            self.discard()

    def on_error(self, error: Exception) -> None:
        """Keeps the first error, which is raised when the capture is asked for."""
        self._error = self._error or error

    def take(self) -> HeldForward | None:
        """Give up what is held, to whoever asked. Raises what went wrong in taking it."""
        held, self._held = self._held, None
        error, self._error = self._error, None
        if error is not None:
            if held is not None:
                held.builder.discard()
            raise error
        return held

    def discard(self) -> None:
        if self._held is not None:
            self._held.builder.discard()
        self._held = self._error = None
        self._clones = {}
        self._strangers = False

    def _take(self, call: AttentionCall, held: HeldForward) -> None:
        key = (call.name, call.call_index)
        place = self._registry.places.get(key)
        sample, samples = held.sample_in(call.batch), held.samples_in(call.batch)
        if place is not None:
            self._session.serializer.put(place, call, held.builder, sample, samples)
        elif not self._registry.call_infos:
            clone = _cloned(call.of_model_sample(sample, samples))
            call_info = replace(CallInfo.of(clone), batch=call.batch)
            self._clones[key] = (call_info, clone)
        elif key not in self._registry.call_infos:
            self._strangers = True

    def _deliver_clones(self) -> None:
        assert self._held is not None
        self._registry.learn({key: call_info for key, (call_info, _) in self._clones.items()})
        for key, (_, clone) in self._clones.items():
            if key in self._registry.places:
                self._session.serializer.put(self._registry.places[key], clone, self._held.builder)
        self._clones = {}


def _cloned(call: AttentionCall) -> AttentionCall:
    """Value and output too, where the map can be checked against them without waiting."""

    def clone(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.clone()

    return replace(
        call,
        weights=clone(call.weights),
        query=clone(call.query),
        key=clone(call.key),
        bias=clone(call.bias),
        value=clone(call.value) if call.is_on_cpu else None,
        output=clone(call.output) if call.is_on_cpu else None,
    )
