"""Collects attention with an extra forward of one sample, after the step."""

from functools import partial
from typing import Any

from torch import nn

from attnmon.capture import (
    AttentionCall,
    CallListener,
    ForwardStopped,
    GivenInputs,
    ModelCall,
    NotDivisible,
    ThreadReaches,
    discover,
    holds_nested,
    model_call,
    probe,
    unwrap,
)
from attnmon.collector.inputs.input_tokens import InputTokens
from attnmon.collector.probe.probe_permission import ProbePermission
from attnmon.config.settings import Settings
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.serialize.capture_builder import CaptureBuilder, NotSeen
from attnmon.serialize.sample_padding import padding_in
from attnmon.session.session import Session


class ProbeCollector:
    """Makes the extra forward, and writes the selected layers while it runs."""

    def __init__(
        self,
        settings: Settings,
        session: Session,
        registry: LayerRegistry,
        tokens: InputTokens,
    ) -> None:
        self._settings = settings
        self._session = session
        self._registry = registry
        self._tokens = tokens
        self._permission = ProbePermission(settings)

    def refusal(self, model: nn.Module) -> str:
        """Return why an extra forward may not be made; empty if it may."""
        return self._permission.refusal(model)

    def collect(self, model: nn.Module, enc: Any, dec: Any, builder: CaptureBuilder) -> None:
        """Write the selected layers into `builder`; finds the model's layers first, if need be.

        Raises what the model raises, `RingFull`, `TooLarge`, and `NotSeen` where the extra forward
        would have done harm: it is never made again.
        """
        try:
            if holds_nested((enc, dec)):
                raise NotDivisible(TypeError("it is given nested tensors"))
            self._collect(model, enc, dec, builder)
        except ThreadReaches as refused:
            self._permission.forbid(model, str(refused), refused.thread)
            text = _not_beside_a_thread(type(model).__name__, refused)
            self._session.guard.warn_once("another thread", text)
            raise NotSeen from None
        except ForwardStopped as stopped:
            self._permission.forbid(model, str(stopped))
            text = _stopped(type(model).__name__, stopped)
            self._session.guard.warn_once(f"stopped {stopped}", text)
            raise NotSeen from None
        except NotDivisible as reason:
            self._permission.forbid(model, str(reason))
            self._session.guard.warn_once("not divisible", _whole(type(model).__name__, reason))
            raise NotSeen from None

    def _collect(self, model: nn.Module, enc: Any, dec: Any, builder: CaptureBuilder) -> None:
        registry = self._registry
        if registry.model is not model or not registry.call_infos:
            self._discover(model, enc, dec)
        given = self._model_call(model, enc, dec)
        builder.sample, builder.roles = given.sample, registry.roles
        wanted = self._settings.batch_idx_to_visualize
        inputs = GivenInputs.of_logged(unwrap(model), enc, dec)
        with self._session.guard.tolerant():
            builder.padding = padding_in(inputs, wanted, registry.batch_dim)
        has_unknown_calls = False

        def receive(call: AttentionCall) -> None:
            nonlocal has_unknown_calls
            key = (call.name, call.call_index)
            has_unknown_calls = has_unknown_calls or not registry.knows(key)
            if key not in registry.selected:
                return
            if not given.batch:  # only the attention tells how many samples there are
                builder.sample = min(builder.sample, call.batch - 1)
            samples = given.samples_given if call.layout is None else call.batch
            layer, index = registry.selected[key], min(given.index_given, call.batch - 1)
            self._session.serializer.write(layer, call, builder, index, samples)

        listener = CallListener(receive)
        self._probe(model, enc, dec, listener, given.samples_given)
        listener.raise_error()
        builder.tokens = self._tokens.of(inputs, wanted, registry.batch_dim)
        if has_unknown_calls or listener.is_stale:
            registry.set_calls({})

    def _model_call(self, model: nn.Module, enc: Any, dec: Any) -> ModelCall:
        return model_call(
            unwrap(model),
            enc,
            dec,
            sample=self._settings.batch_idx_to_visualize,
            batch_dim=self._registry.batch_dim,
            forward_fn=self._settings.forward_fn,
        )

    def _probe(
        self, model: nn.Module, enc: Any, dec: Any, listener: CallListener, samples: int
    ) -> None:
        probe(
            model,
            enc,
            dec,
            listener,
            sample=self._settings.batch_idx_to_visualize,
            batch_dim=self._registry.batch_dim,
            forward_fn=self._settings.forward_fn,
            handwritten=self._registry.handwritten,
            layouts=partial(self._registry.layouts.find, samples),
        )

    def _discover(self, model: nn.Module, enc: Any, dec: Any) -> None:
        batch_dim = self._settings.batch_dim
        found = discover(
            model,
            enc,
            dec,
            sample=self._settings.batch_idx_to_visualize,
            batch_dim="auto" if batch_dim is None else batch_dim,
            forward_fn=self._settings.forward_fn,
        )
        self._registry.set_discovery(model, found)


def _stopped(model: str, stopped: ForwardStopped) -> str:
    return (
        f"the extra forward of {model} was stopped: it {stopped}. Nothing is changed, and none is "
        "made again: its attention is seen in its own forward, from the next step on."
    )


def _not_beside_a_thread(model: str, refused: ThreadReaches) -> str:
    return (
        f"an extra forward of {model} {refused}: that would be undone with what the forward itself "
        "changes. The model's own forward is looked at instead, from the next step on."
    )


def _whole(model: str, reason: NotDivisible) -> str:
    return (
        f"no extra forward is made of {model}: it {reason}. Its own forward is looked at "
        "instead, from the next step on."
    )
