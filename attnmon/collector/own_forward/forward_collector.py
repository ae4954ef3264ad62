"""Collects attention from the model's own forward, and holds it until it is logged."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from torch import Tensor

from attnmon.accounting.watching_cost import WatchingCost
from attnmon.capture import (
    AttentionCall,
    CallInfo,
    GivenInputs,
    Inputs,
    SdpaCall,
    TapListener,
    UnknownOrder,
    compilations,
)
from attnmon.collector.inputs.image_collector import ImageCollector
from attnmon.collector.inputs.input_tokens import InputTokens
from attnmon.collector.own_forward.held_forward import HeldForward
from attnmon.layers.layer_numbering import LayerKey
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.serialize.device_copy import is_recording_a_graph
from attnmon.serialize.sample_padding import padding_in
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
        tokens: InputTokens,
        images: ImageCollector,
    ) -> None:
        """`on_compiled`: called when watching the forward has caused a compilation."""
        self.retained = False
        """Whether the next forward is of a step that is not due, to be retained only."""
        self.watching_cost = WatchingCost()
        self._spent_before = 0.0
        """What the counters said when the forward began."""
        self._session = session
        self._registry = registry
        self._on_compiled = on_compiled
        self._wanted_sample = sample
        self._tokens = tokens
        self._images = images
        self._held: HeldForward | None = None
        self._error: Exception | None = None
        self._clones: dict[LayerKey, AttentionCall] = {}
        self._infos: dict[LayerKey, CallInfo] = {}
        """What this forward has shown for the first time."""
        self._refused: set[LayerKey] = set()
        """Calls of this forward that turned out to be no map."""
        self._is_followed = False
        """Whether this forward's tensors are followed from the inputs on."""
        self._compilations = 0
        self._was_empty = False

    # As the tap's listener

    @property
    def sample(self) -> int:
        """Index in the batch of the sample that is captured."""
        return self._wanted_sample

    def on_forward_start(self, inputs: Inputs, given: GivenInputs | None = None) -> None:
        """Prepare to hold the capture of a forward of these inputs."""
        self._spent_before = self._session.counters.hook_seconds
        self.discard()
        if is_recording_a_graph():
            return
        self._compilations = compilations()
        samples = self._registry.samples_in(inputs)
        self._is_followed = self._registry.layouts.has_to_follow(samples)
        if self._is_followed:
            self._registry.clear_unsupported()  # it is told anew
        builder = self._session.new_builder(
            sample=self._wanted_sample, seen_in="forward", retained=self.retained
        )
        builder.tokens = self._tokens.of(given, self._wanted_sample, self._registry.batch_dim)
        builder.roles = self._registry.roles
        if not self.retained:
            with self._session.guard.tolerant():
                builder.padding = padding_in(given, self._wanted_sample, self._registry.batch_dim)
        self._images.look_at(inputs, builder)
        self._held = HeldForward(builder, inputs, samples)

    def on_sdpa_call(self, call: SdpaCall) -> bool:
        """Capture a call of which all but its values is known. True if it did."""
        held, layer = self._held, self._registry.selected.get((call.name, call.call_index))
        if held is None or layer is None or self._error is not None:
            return False
        sample, samples = held.sample_in(call.batch), held.batch
        return self._session.serializer.write_alike(layer, call, held.builder, sample, samples)

    def on_call(self, call: AttentionCall) -> None:
        """Capture one attention call of the forward."""
        if self._held is not None and self._error is None:
            self._capture(call, self._held)

    def on_unsupported(self, module: str, reason: str, call_index: int | None = None) -> None:
        """Note why the attention of this module is not captured."""
        self._registry.set_unsupported(module, reason, call_index)
        if call_index is not None:
            self._refused.add((module, call_index))

    def on_stale_layout(self) -> None:
        """Have the next forward followed; this one shows the other layers."""
        self._registry.layouts.follow_again()

    def timed(self) -> AbstractContextManager[None]:
        """Count what happens inside as time that the monitor took from the training."""
        return self._session.counters.timed()

    def add_time(self, seconds: float) -> None:
        """Count time that the monitor took from the training, outside such a context."""
        self._session.counters.hook_seconds += seconds

    def on_forward_timed(self, seconds: float, *, watched: bool) -> None:
        """Count what watching has cost beside the time that is counted already."""
        if not watched:
            self.watching_cost.add_plain(seconds)
            return
        counters = self._session.counters
        kind = (self._is_followed, self._registry.way_of_watching)
        plain = seconds - (counters.hook_seconds - self._spent_before)
        counters.hook_seconds += self.watching_cost.add_watched(kind, plain)

    def on_forward_end(self, completed: bool) -> None:
        """Keep the capture if the forward completed and the layers are those known."""
        if self._held is not None and compilations() != self._compilations:
            self._on_compiled()
            self.discard()
        elif not completed:
            self.discard()
        elif self._error is None and self._held is not None:
            self._complete(self._held)

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

    def pop_was_empty(self) -> bool:
        """Return, once, whether the latest forward was seen to its end without any attention."""
        was_empty, self._was_empty = self._was_empty, False
        return was_empty

    def discard(self) -> None:
        """Free what is held, and forget the forward and its error."""
        if self._held is not None:
            self._held.builder.discard()
        self._held = self._error = None
        self._clones = {}
        self._infos = {}
        self._refused = set()
        self._was_empty = False

    def _complete(self, held: HeldForward) -> None:
        """Take over what the forward has shown for the first time."""
        if self._is_followed:
            shown = [info for key, info in self._infos.items() if key not in self._refused]
            self._registry.set_followed(shown, held.batch)
        if self._clones:
            self._write_clones(held)
        layers = len(held.builder.attentions)
        if not layers:
            self.discard()
            self._was_empty = not self._registry.call_infos
        self._registry.notice_layers(layers)

    def _capture(self, call: AttentionCall, held: HeldForward) -> None:
        key = (call.name, call.call_index)
        if self._registry.layouts.is_refused(key):
            return
        try:
            self._capture_sample(key, call, held)
        except UnknownOrder as reason:
            self._registry.set_unsupported(call.name, str(reason))

    def _capture_sample(self, key: LayerKey, call: AttentionCall, held: HeldForward) -> None:
        sample = held.sample_in(call.batch)
        samples = held.batch if call.layout is None else call.batch
        if self._is_followed or key not in self._registry.call_infos:
            one = call.of_model_sample(sample, samples)
            self._infos[key] = replace(CallInfo.of(one), batch=call.batch)
            if not self._registry.call_infos:  # which layers are selected is known at its end
                self._clones[key] = _cloned(one)
                return
        if key not in self._registry.call_infos:
            self._registry.add_calls([(key, self._infos[key])])
        layer = self._registry.selected.get(key)
        if layer is not None:
            self._session.serializer.write(layer, call, held.builder, sample, samples)

    def _write_clones(self, held: HeldForward) -> None:
        shown = {key: clone for key, clone in self._clones.items() if key not in self._refused}
        self._registry.set_calls({key: self._infos[key] for key in shown})
        for key, clone in shown.items():
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
