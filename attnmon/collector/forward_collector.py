"""Collects attention from the model's own forward, and holds it until it is logged."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from torch import Tensor

from attnmon.capture import (
    AttentionCall,
    CallInfo,
    Inputs,
    SdpaCall,
    TapListener,
    compilations,
)
from attnmon.collector.held_forward import HeldForward
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.layers.layer_selection import LayerKey
from attnmon.serialize.device_copy import is_recording_a_graph
from attnmon.session.session import Session


class ForwardCollector(TapListener):
    """Writes what the tap reports during one forward after another; holds the latest.

    Of a model seen for the first time no layer is selected yet: one sample of each is cloned, and
    written when the forward is over and the layers are known.
    """

    def __init__(
        self,
        session: Session,
        registry: LayerRegistry,
        on_compiled: Callable[[], None],
        sample: int,
    ) -> None:
        """`on_compiled`: called when watching the forward has caused a compilation."""
        self.retained = False
        """Whether the next forward is of a step that is not due, to be retained only."""
        self._session = session
        self._registry = registry
        self._on_compiled = on_compiled
        self._wanted_sample = sample
        self._held: HeldForward | None = None
        self._error: Exception | None = None
        self._clones: dict[LayerKey, tuple[CallInfo, AttentionCall]] = {}
        self._has_unknown_calls = False
        self._compilations = 0

    # As the tap's listener

    def on_forward_start(self, inputs: Inputs) -> None:
        """Prepare to hold the capture of a forward of these inputs."""
        self.discard()
        if is_recording_a_graph():
            return
        self._compilations = compilations()
        dim = self._registry.batch_dim
        sizes = (1,) if dim is None else tuple(t.shape[dim] for t in inputs if t.dim() > dim)
        batch = max(sizes, default=0)
        sample = min(self._wanted_sample, batch - 1) if batch else self._wanted_sample
        builder = self._session.new_builder(
            sample=sample, seen_in="forward", retained=self.retained
        )
        self._held = HeldForward(builder, inputs, sizes)

    def on_sdpa_call(self, call: SdpaCall) -> bool:
        """Capture a call of which all but its values is known. True if it did."""
        held, layer = self._held, self._registry.selected.get((call.name, call.call_index))
        if held is None or layer is None or self._error is not None:
            return False
        sample, samples = held.sample_in(call.batch), held.samples_in(call.batch)
        return self._session.serializer.write_alike(layer, call, held.builder, sample, samples)

    def on_call(self, call: AttentionCall) -> None:
        """Capture one attention call of the forward."""
        if self._held is not None and self._error is None:
            self._capture(call, self._held)

    def on_unsupported(self, module: str, reason: str) -> None:
        """Note why the attention of this module is not captured."""
        self._registry.set_unsupported(module, reason)

    def timed(self) -> AbstractContextManager[None]:
        """Count what happens inside as time that the monitor took from the training."""
        return self._session.counters.timed()

    def on_forward_end(self, completed: bool) -> None:
        """Keep the capture if the forward completed and the layers are those known."""
        if self._held is not None and compilations() != self._compilations:
            self._on_compiled()
            self.discard()
        elif not completed:
            self.discard()
        elif self._error is not None or self._held is None:
            return
        elif self._clones:
            self._write_clones(self._held)
        elif self._has_unknown_calls:
            self._registry.set_calls({})  # the next forward finds all its layers anew
            self.discard()
        elif self._registry.has_missed_layers(len(self._held.builder.attentions)):
            self.discard()

    def on_error(self, error: Exception) -> None:
        """Keep the first error, which is raised when the capture is asked for."""
        self._error = self._error or error

    # For the collector

    def pop_held(self) -> HeldForward | None:
        """Return what is held, which is the caller's from here on. Raises the first error."""
        held, self._held = self._held, None
        error, self._error = self._error, None
        if error is not None:
            if held is not None:
                held.builder.discard()
            raise error
        return held

    def discard(self) -> None:
        """Free what is held, and forget the forward and its error."""
        if self._held is not None:
            self._held.builder.discard()
        self._held = self._error = None
        self._clones = {}
        self._has_unknown_calls = False

    def _capture(self, call: AttentionCall, held: HeldForward) -> None:
        key = (call.name, call.call_index)
        layer = self._registry.selected.get(key)
        sample, samples = held.sample_in(call.batch), held.samples_in(call.batch)
        if layer is not None:
            self._session.serializer.write(layer, call, held.builder, sample, samples)
        elif not self._registry.call_infos:
            clone = _cloned(call.of_model_sample(sample, samples))
            call_info = replace(CallInfo.of(clone), batch=call.batch)
            self._clones[key] = (call_info, clone)
        elif key not in self._registry.call_infos:
            self._has_unknown_calls = True

    def _write_clones(self, held: HeldForward) -> None:
        self._registry.set_calls({key: call_info for key, (call_info, _) in self._clones.items()})
        for key, (_, clone) in self._clones.items():
            if key in self._registry.selected:
                self._session.serializer.write(self._registry.selected[key], clone, held.builder)
        self._clones = {}


def _cloned(call: AttentionCall) -> AttentionCall:
    """Copy a call's tensors; value and output only where checking them needs no waiting."""

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
