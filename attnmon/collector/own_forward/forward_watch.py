"""Watches the model's own forwards: the next one, once it is armed, or those of a block."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from attnmon.capture import (
    ForwardTap,
    GivenInputs,
    Tap,
    has_fast_path,
    inputs_in,
    module_names,
    modules_in,
    unwrap,
)
from attnmon.collector.inputs.image_collector import ImageCollector
from attnmon.collector.inputs.input_tokens import InputTokens
from attnmon.collector.own_forward.forward_collector import ForwardCollector
from attnmon.collector.own_forward.missed_forward import MissedForward
from attnmon.config.settings import Settings
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.session.session import Session


class ForwardWatch:
    """Has what it watches collected by `forward`; watches none of which an extra one is wanted."""

    def __init__(
        self,
        settings: Settings,
        session: Session,
        registry: LayerRegistry,
        tokens: InputTokens,
        images: ImageCollector,
        refusal: Callable[[nn.Module], str],
        *,
        shows_probe: bool,
    ) -> None:
        """`refusal`: returns why no extra forward of a model may be made; empty if one may.

        `shows_probe`: the user's own batch is looked at at due steps, by an extra forward.
        """
        self.forward = ForwardCollector(
            session, registry, self.avoid, settings.batch_idx_to_visualize, tokens, images
        )
        self._registry = registry
        self._guard = session.guard
        self._refusal = refusal
        self._is_probe_wanted = settings.capture == "probe"
        self._shows_probe = shows_probe
        self._allows_fast_path = settings.capture != "auto"
        self._missed = MissedForward(session.guard, settings.capture)
        self._armed: tuple[Callable[[], nn.Module | None], ForwardTap] | None = None

    @property
    def armed(self) -> bool:
        """Whether a model's next forward is watched."""
        return self._armed is not None

    def arm(self, model: nn.Module | None, *, retained: bool = False) -> None:
        """Watch the model's next forwards, if that is possible; None: watch none.

        `retained`: the next one is of a step that is not due.
        """
        self.forward.retained = retained
        if model is not None and self._is_probed(model, retained=retained):
            self._registry.set_model(model)
            model = None
        if self._armed is not None:
            armed, tap = self._armed
            if model is not None and armed() is model:
                tap.calls.clear()
                tap.only_times = False
                return
            tap.remove()
            self._armed = None
        if model is None:
            return
        registry = self._registry
        registry.set_model(model)
        if self.why_not(model):
            return
        tap = ForwardTap(model, self.forward, registry.scope_of, registry.handwritten)
        self._armed = (weakref.ref(model), tap)

    def _is_probed(self, model: nn.Module, *, retained: bool) -> bool:
        """Return whether an extra forward is wanted of this model, and may be made.

        `retained`: of a step that is not due, for which the user's batch is not looked at.
        """
        is_wanted = self._is_probe_wanted or (self._shows_probe and not retained)
        return is_wanted and not self._refusal(model)

    def why_not(self, model: nn.Module) -> str:
        """Return why the own forward of this model may not be watched; empty if it may."""
        modules = modules_in(model)
        if self._registry.runs_compiled(model, modules):
            return "runs compiled code, which cannot be looked into without compiling it again"
        if not self._allows_fast_path and has_fast_path(modules):
            return (
                "may run nn.TransformerEncoder's fast path, whose last bits would differ "
                "(capture='forward' looks on at it all the same)"
            )
        return ""

    def disarm(self) -> None:
        """Watch no forward any more."""
        self.arm(None)

    def rest(self) -> None:
        """Watch no forward for now; the next one may be timed, to tell what watching costs."""
        if self._armed is None:
            return
        _, tap = self._armed
        if tap.only_times or not tap.calls[True] or not self.forward.watching_cost.wants_plain:
            self.disarm()
        tap.only_times = True

    def reset(self) -> None:
        """Take the tap off the model, and free what was held of its forward."""
        self.disarm()
        self.forward.discard()

    def avoid(self) -> None:
        """Never watch this model's forward again: that has made torch compile it once more."""
        self._registry.compiled = True
        self.disarm()
        self._guard.warn_once("compiled", _COMPILED)

    def review_missed(self, model: nn.Module | None) -> str:
        """Say so if the model that is watched was not called since the last step.

        `model`: what was logged. Returns why its forward was not seen; empty if it was, or an extra
        one takes its place.
        """
        if self._armed is None:
            return ""
        armed, tap = self._armed
        watched = None if tap.only_times else armed()
        if watched is None or (model is not None and model is not watched):
            return ""
        why = self._missed.review(tap, watched)
        if why and model is not None and not self._refusal(model):
            self._missed.tell_what_it_costs(why, watched)
            return ""
        self._registry.unseen.set_missed(why)
        if why and self._missed.is_repeated(watched):
            self._missed.warn(why)
        return why

    @contextmanager
    def watch_block(self, batch: Any = None, *, retained: bool = False) -> Iterator[None]:
        """Watch whatever forward is made in this block, of the known model or of any.

        `batch`: the model's inputs, if the user has given them; they tell the batch size.
        """
        self.disarm()
        self.forward.retained = retained
        model, forward = self._registry.model, self.forward
        if self._registry.compiled or (
            self._shows_probe and model is not None and self._is_probed(model, retained=retained)
        ):
            yield
            return
        self._registry.watch_whole_forward()
        with forward.timed():
            names = {} if model is None else module_names(unwrap(model))
            inputs = inputs_in(batch)
            given = None if batch is None else GivenInputs.of_logged(None, batch)
            forward.on_forward_start(inputs, given)
            layouts = self._registry.layouts_for(inputs)
        completed = False
        try:
            with Tap(names, forward, layouts=layouts):
                yield
            completed = True
        finally:
            try:
                with forward.timed():
                    forward.on_forward_end(completed)
            except Exception as error:  # ours, and not for the user's block
                forward.on_error(error)


_COMPILED = (
    "the model's forward runs compiled code, which was compiled once more because it was looked on "
    "at. It will not be again: from now on an extra forward of one sample takes its place, where "
    "one may be made."
)
