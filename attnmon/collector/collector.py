"""Chooses how a step's attention is collected: from a probe, the model's forward, or the user.

The *probe* is an extra forward of one sample, after the step. The *forward* way watches while the
model makes its own; it is armed at the step before. What it saw is published only if it was the
forward of the very tensors that are logged; otherwise the probe takes its place. What the user has
given with `record` is added in either case.

Either way the layers are found first, since "the last layer" means nothing before that; and again
whenever the model makes calls that it did not make then.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from attnmon.accounting.error_guard import (
    comes_from_signal_handler,
    describe,
    drop_frames,
    location_of,
)
from attnmon.capture import AttentionCall, Inputs, inputs_in
from attnmon.collector.inputs.image_collector import ImageCollector
from attnmon.collector.inputs.input_tokens import InputTokens
from attnmon.collector.manual_attention import ManualAttention
from attnmon.collector.own_forward.forward_watch import ForwardWatch
from attnmon.collector.own_forward.held_forward import HeldForward
from attnmon.collector.own_forward.logged_inputs import LoggedInputs
from attnmon.collector.probe.probe_batch import ProbeBatch
from attnmon.collector.probe.probe_collector import ProbeCollector
from attnmon.config.settings import Settings
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.layers.layer_selection import LayerSelection, SelectedLayer
from attnmon.link.channel import ChannelClosed
from attnmon.serialize.capture_builder import CaptureBuilder, NotSeen, RingFull, TooLarge
from attnmon.serialize.sample_padding import Padding, given_padding, write_padding
from attnmon.serialize.small_image import Image
from attnmon.session.session import Session


class Collector:
    """Copies the attention that the user wants to see from a model into the ring."""

    def __init__(
        self, settings: Settings, session: Session, probe_batch: ProbeBatch | None = None
    ) -> None:
        self._settings = settings
        self._session = session
        self._guard = session.guard
        self._wanted_sample = settings.batch_idx_to_visualize
        self.manual = ManualAttention(self._wanted_sample)
        """What the user has given with `record` since the last step."""
        self.registry = LayerRegistry(
            LayerSelection(
                settings.layers_to_visualize, settings.head_indices, settings.maps == "all"
            ),
            session.guard,
            lambda: {**settings.roles, **self.manual.roles},
        )
        self.registry.batch_dim = settings.batch_dim or 0
        self._images = ImageCollector(settings, session, self.registry)
        tokens = InputTokens(settings.tokenizer, session.guard)
        self._probe = ProbeCollector(settings, session, self.registry, tokens)
        self._probe_batch = probe_batch
        self._logged = LoggedInputs(session.guard)
        self.watch = ForwardWatch(
            settings,
            session,
            self.registry,
            tokens,
            self._images,
            self._probe.refusal,
            shows_probe=probe_batch is not None,
        )
        """Has the model's own forwards collected."""
        self._forward = self.watch.forward

    # At a step

    def collect(
        self,
        model: nn.Module | None,
        enc: Any,
        dec: Any,
        *,
        image: Image = None,
        padding: Padding = None,
        retained: bool = False,
    ) -> CaptureBuilder:
        """Return a capture of one sample with every selected layer, copied.

        `image`, `padding`: what the user gave in place of those among the inputs. `retained`: the
        step is not due, so that no extra forward is made for it.

        Raises what the model raises, `RingFull`, and `NotSeen` when it cannot be seen now.
        """
        if self._probe_batch is not None and not retained:
            model = model or self.registry.model
        probe_inputs = None if retained else self._probe_inputs(model)
        if probe_inputs is not None:
            enc, dec = probe_inputs
            self._forward.discard()
        logged = inputs_in((enc, dec))
        held = self._held_for(model, logged)
        if not retained and probe_inputs is None:
            missed = self.watch.review_missed(model)
            if missed and model is None and not self.manual:
                raise NotSeen
        builder = held.builder if held else self._new_builder(model, retained=retained)
        with _discarded_on_error(builder):
            was_empty, can_see = self._forward.pop_was_empty(), True
            if held is None and model is not None and not retained:
                can_see = self._can_see(model, was_empty=was_empty)
                if can_see and not self._probe.refusal(model):
                    self._probe.collect(model, enc, dec, builder)
                    self._images.look_at(logged, builder)
            self._warn_of_smaller_batch(builder.sample)
            self._add_manual(builder)
            builder.roles = self.registry.roles
            builder.shows_probe = probe_inputs is not None
            if image is not None or padding is not None:
                is_other = held is not None and not held.is_of(logged)
                if is_other or probe_inputs is not None:  # something else was looked at
                    image = padding = None
            self._images.write(builder, image)
            self._write_padding(builder, padding)
        if can_see and not retained and not builder.attentions:
            self._require_layers(model or self.registry.model)
        return builder

    def _require_layers(self, model: nn.Module | None) -> None:
        """Count it as a failure if no attention of this model was ever seen."""
        if not self.registry.call_infos:
            self.registry.find_silent_modules()
            self._guard.failed("nothing", _nothing_found(model, self.registry.unsupported))

    def _write_padding(self, builder: CaptureBuilder, given: Padding) -> None:
        """Write which positions are padding: what the user gave, or what the inputs say."""
        padding = builder.padding
        if given is not None:
            with self._guard.tolerant():
                padding = given_padding(given, builder.sample)
            builder.forget_padding()
        if builder.retained or not builder.attentions or not padding.is_known:
            return
        writer = self._session.serializer.ring_writer
        own, decoder = padding.of_stacks(builder.roles)
        of_encoder = write_padding(own, writer, builder)
        of_decoder = of_encoder if decoder is own else write_padding(decoder, writer, builder)
        builder.padding_blocks = of_encoder, of_decoder

    def _probe_inputs(self, model: nn.Module | None) -> tuple[Any, Any] | None:
        """Return the user's own batch as (enc, dec); say once why it may not be looked at."""
        if self._probe_batch is None:
            return None
        why = "no model was given" if model is None else self._probe.refusal(model)
        if model is None or why:
            self._guard.warn_once("probe batch", _not_the_probe(why))
            return None
        return self._probe_batch.inputs_for(model)

    def _new_builder(self, model: nn.Module | None, *, retained: bool) -> CaptureBuilder:
        return self._session.new_builder(
            sample=self._wanted_sample,
            seen_in="recorded" if model is None or retained else "probe",
            retained=retained,
        )

    def _held_for(self, model: nn.Module | None, logged: Inputs) -> HeldForward | None:
        """Return what the model's own forward showed.

        Of other tensors than those logged only where no probe could show these.
        """
        held = self._forward.pop_held()
        if held is None or model is None:
            return held
        if held.is_of(logged):
            self._logged.were_of_the_forward()
            return held
        if self._probe.refusal(model):
            return held
        is_called_otherwise = self._settings.forward_fn is not None
        if not is_called_otherwise and self._logged.are_copies(held, logged):
            return held
        held.builder.discard()
        return None

    def _can_see(self, model: nn.Module, *, was_empty: bool) -> bool:
        """Return whether this model's attention can be looked for now; False if it never can.

        `was_empty`: its own forward has shown none. Raises `NotSeen` where its next one may.
        """
        refusal = self._probe.refusal(model)
        if not refusal or was_empty:
            return True
        why = self.watch.why_not(model)
        if not why:
            raise NotSeen
        self._guard.warn_once("never seen", _never_seen(why, refusal))
        return False

    def _add_manual(self, builder: CaptureBuilder) -> None:
        self.registry.add_calls(self.manual.call_infos())
        for key, call in self.manual.samples():
            if key in self.registry.selected:
                self._write_manual(self.registry.selected[key], call, builder)

    def _write_manual(
        self, layer: SelectedLayer, call: AttentionCall, builder: CaptureBuilder
    ) -> None:
        """Write a layer that was recorded; what is wrong with it costs it alone."""
        try:
            if max(layer.heads) >= call.heads:
                raise ValueError(f"{call.heads} heads, where this layer has more")
            self._session.serializer.write(layer, call, builder)
        except (RingFull, TooLarge, ChannelClosed):
            raise
        except Exception as error:
            if comes_from_signal_handler(error.__traceback__):
                raise
            text = f"record({call.name!r:.80}) is left out: {describe(error)}"
            self._guard.warn_once(f"record {location_of(error)}", text)
            drop_frames(error)

    def _warn_of_smaller_batch(self, sample: int) -> None:
        if sample != self._wanted_sample:
            self._guard.warn_once("sample", _smaller_batch(self._wanted_sample, sample + 1))


@contextmanager
def _discarded_on_error(builder: CaptureBuilder) -> Iterator[None]:
    try:
        yield
    except BaseException:
        builder.discard()
        raise


def _nothing_found(model: nn.Module | None, unsupported: Mapping[str, str]) -> str:
    seen = "no model was given"
    if model is not None:
        seen = f"no attention was seen in {type(model).__name__}"
    because = "".join(
        f" ({name or 'the model'}: {why})" for name, why in list(unsupported.items())[:1]
    )
    return (
        f"{seen}: 0 layers can be captured{because}. Attention is found where it is computed by "
        "scaled_dot_product_attention, nn.MultiheadAttention or softmax(query · key) · value; give "
        "other weights with monitor.record(name, weights=...). Training goes on."
    )


def _not_the_probe(why: str) -> str:
    return (
        f"probe= is not looked at: {why}. The model's own forward is shown instead, so that maps "
        "of different steps show different samples."
    )


def _never_seen(why: str, refusal: str) -> str:
    return (
        f"0 layers are captured: the model's own forward {why}; and {refusal}. Weights that you "
        "have yourself can be given to monitor.record(name, weights=...)."
    )


def _smaller_batch(wanted: int, batch: int) -> str:
    return (
        f"batch_idx_to_visualize={wanted}, but a batch had only {batch} samples; its last one is "
        "shown instead. metadata.sample in the statistics says which was taken."
    )
