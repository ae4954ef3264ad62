"""From a model and its inputs to the layers asked for, by one of two ways.

The *probe* is an extra forward of one sample, after the step. The *forward* way looks on while the
model makes its own: the step before a due one arms it. What it saw is published only if it was the
forward of the very tensors that are logged; otherwise the probe takes its place.

Either way the layers are counted first, since "the last layer" means nothing before that; and
again whenever the model makes calls that it did not make then.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from attnmon.capture import (
    AttentionCall,
    CallListener,
    ForwardTap,
    Inputs,
    ModelCall,
    Tap,
    discover,
    has_fast_path,
    is_sharded,
    module_names,
    modules_in,
    probe,
    tensors_in,
    unwrap,
)
from attnmon.collector.forward_collector import ForwardCollector, HeldForward
from attnmon.collector.manual_attention import ManualAttention
from attnmon.config.settings import Settings
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.layers.layer_selection import LayerSelection
from attnmon.link.messages import SeenIn
from attnmon.serialize.capture_builder import CaptureBuilder, NotSeen
from attnmon.session.session import Session


class Collector:
    """Takes of a model's forwards what the user wants to see."""

    def __init__(self, settings: Settings, session: Session) -> None:
        self.manual = ManualAttention(settings.batch_idx_to_visualize)
        self.registry = LayerRegistry(
            LayerSelection(settings.layers_to_visualize, settings.head_indices),
            session.guard,
            lambda: {**settings.roles, **self.manual.roles},
        )
        self.registry.batch_dim = settings.batch_dim or 0
        self._settings = settings
        self._session = session
        self._guard = session.guard
        self._forward = ForwardCollector(
            session, self.registry, self.stay_out, settings.batch_idx_to_visualize
        )
        self._armed: tuple[Callable[[], nn.Module | None], ForwardTap] | None = None

    # At a step that is due

    def collect(
        self, model: nn.Module | None, enc: Any, dec: Any, *, retained: bool = False
    ) -> CaptureBuilder:
        """Return every chosen layer's attention of one sample, copied.

        `retained`: the step is not due, so that no extra forward is made for it.

        Raises what the model raises, `RingFull`, `NotSeen` when there is no way to look now.
        """
        held = self._held_for(model, tensors_in((enc, dec)))
        builder = self._fresh(model, retained=retained) if held is None else held.builder
        with _given_back_on_error(builder):
            if held is not None:
                self._note_smaller_batch(builder.sample)
            elif model is not None and not retained:
                if not self._may_probe(model):
                    self._say_if_never_seen(model)
                    raise NotSeen
                self._probe(model, enc, dec, builder)
            self._add_recorded(builder)
        if not (self.registry.call_infos or builder.attentions) and not retained:
            self._guard.failed("nothing", _nothing_found(model, self.registry.refusals))
        return builder

    def _fresh(self, model: nn.Module | None, *, retained: bool) -> CaptureBuilder:
        seen_in: SeenIn = "recorded" if model is None or retained else "probe"
        return self._session.new_builder(
            sample=self._settings.batch_idx_to_visualize, seen_in=seen_in, retained=retained
        )

    def _held_for(self, model: nn.Module | None, logged: Inputs) -> HeldForward | None:
        """What the model's own forward showed: of these very tensors, if there is a choice."""
        held = self._forward.take()
        if held is None or held.is_of(logged) or model is None or not self._may_probe(model):
            return held
        held.builder.discard()
        return None

    # The probe

    def _may_probe(self, model: nn.Module) -> bool:
        return self._settings.capture != "forward" and not is_sharded(unwrap(model))

    def _probe(self, model: nn.Module, enc: Any, dec: Any, builder: CaptureBuilder) -> None:
        registry = self.registry
        if registry.model is not model or not registry.call_infos:
            self._discover(model, enc, dec)
        strangers = False

        def receive(call: AttentionCall) -> None:
            nonlocal strangers
            key = (call.name, call.call_index)
            strangers = strangers or key not in registry.call_infos
            if key in registry.places:
                self._session.serializer.put(registry.places[key], call, builder, 0, 1)

        call = self._run_probe(model, enc, dec, receive)
        builder.sample = call.sample
        self._note_smaller_batch(call.sample)
        if strangers:
            registry.learn({})

    def _run_probe(
        self, model: nn.Module, enc: Any, dec: Any, receive: Callable[[AttentionCall], None]
    ) -> ModelCall:
        listener = CallListener(receive)
        call = probe(
            model,
            enc,
            dec,
            listener,
            sample=self._settings.batch_idx_to_visualize,
            batch_dim=self.registry.batch_dim,
            forward_fn=self._settings.forward_fn,
            handwritten=self.registry.handwritten,
        )
        listener.raise_error()
        return call

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
        self.registry.discover(model, found)

    # The model's own forward

    def arm(self, model: nn.Module | None, *, retained: bool = False) -> None:
        """Watch the model's next forwards, if that is possible; None: watch none.

        `retained`: the next one is of a step that is not due.
        """
        self._forward.retained = retained
        if self._armed is not None:
            armed, tap = self._armed
            if model is not None and armed() is model:
                return
            tap.remove()
            self._armed = None
        if model is None or self._settings.capture == "probe":
            return
        self.registry.meet(model)
        modules = modules_in(model)
        if self.registry.runs_compiled(model, modules) or self._had_better_be_probed(
            model, modules
        ):
            return
        tap = ForwardTap(model, self._forward, self.registry.where, self.registry.handwritten)
        self._armed = (weakref.ref(model), tap)

    def _had_better_be_probed(self, model: nn.Module, modules: Sequence[nn.Module]) -> bool:
        free = self._settings.capture == "auto"
        return free and has_fast_path(modules) and self._may_probe(model)

    def disarm(self) -> None:
        self.arm(None)

    @property
    def armed(self) -> bool:
        """Whether a model's next forward is looked at."""
        return self._armed is not None

    @contextmanager
    def watch_block(self, inputs: Inputs = (), *, retained: bool = False) -> Iterator[None]:
        """Watch whatever forward is made in this block, of the model known or of any."""
        self.disarm()
        self._forward.retained = retained
        if self.registry.compiled:
            yield
            return
        model = self.registry.model
        forward = self._forward
        self.registry.look_at_all()
        with forward.timed():
            names = {} if model is None else module_names(unwrap(model))
            forward.on_forward_start(inputs)
        completed = False
        try:
            with Tap(names, forward):
                yield
            completed = True
        finally:
            try:
                with forward.timed():
                    forward.on_forward_end(completed)
            except Exception as error:  # ours, and not for the user's block
                forward.on_error(error)

    def reset(self) -> None:
        """Give back what is held, and let go of the model."""
        self.disarm()
        self._forward.discard()

    def stay_out(self) -> None:
        """Something was compiled while we looked on: let it not happen again."""
        self.registry.compiled = True
        self.disarm()
        self._guard.warn_once("compiled", _COMPILED)

    def _say_if_never_seen(self, model: nn.Module) -> None:
        """Neither way is open to a compiled model that may not be probed."""
        if self.registry.runs_compiled(model, modules_in(model)):
            self._guard.warn_once("never seen", _never_seen(self._settings.capture))

    def _add_recorded(self, builder: CaptureBuilder) -> None:
        self.registry.add(self.manual.call_infos())
        for key, call in self.manual.samples():
            if key in self.registry.places:
                self._session.serializer.put(self.registry.places[key], call, builder)

    def _note_smaller_batch(self, sample: int) -> None:
        """The sample taken is the last there was, if it is another than was asked for."""
        if sample != self._settings.batch_idx_to_visualize:
            self._guard.warn_once(
                "sample", _smaller_batch(self._settings.batch_idx_to_visualize, sample + 1)
            )


@contextmanager
def _given_back_on_error(builder: CaptureBuilder) -> Iterator[None]:
    try:
        yield
    except BaseException:
        builder.discard()
        raise


def _nothing_found(model: nn.Module | None, refusals: Mapping[str, str]) -> str:
    seen = "no model was given"
    if model is not None:
        seen = f"no attention was seen in {type(model).__name__}"
    because = "".join(f" ({name}: {why})" for name, why in list(refusals.items())[:1])
    return (
        f"{seen}: 0 layers can be captured{because}. Attention is found where it is computed by "
        "scaled_dot_product_attention, nn.MultiheadAttention or softmax(query · key) · value; give "
        "other weights with monitor.record(name, weights=...). Training goes on."
    )


_COMPILED = (
    "the model's forward runs compiled code, which was compiled once more because it was looked on "
    "at. It will not be again: from now on an extra forward of one sample takes its place, where "
    "one may be made."
)


def _never_seen(capture: str) -> str:
    remedy = (
        "use capture='auto'"
        if capture == "forward"
        else "its parameters are sharded, so that no "
        "extra forward may be made either: give its weights to monitor.record(name, weights=...)"
    )
    return (
        "0 layers are captured: the model's forward runs compiled code, which cannot be looked "
        f"into without compiling it again; {remedy}."
    )


def _smaller_batch(wanted: int, batch: int) -> str:
    return (
        f"batch_idx_to_visualize={wanted}, but a batch had only {batch} samples; its last one is "
        "shown instead. metadata.sample in the statistics says which was taken."
    )
