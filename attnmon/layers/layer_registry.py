"""The attention calls that a model makes, which of them are captured, and where to look for them.

Filled from one forward that is watched from end to end; and again, when the model makes calls that
it did not make then.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from torch import nn

from attnmon.accounting.error_guard import ErrorGuard, logger
from attnmon.capture import (
    CallInfo,
    Discovery,
    ModuleIndex,
    is_uncompiled,
    modules_in,
    reaches_compiled,
    unwrap,
)
from attnmon.layers.layer_selection import (
    Coverage,
    LayerKey,
    LayerSelection,
    SelectedLayer,
    attending_modules,
    coverage_table,
    seen_in_forward,
)

WHOLE_FORWARD_EVERY = 16
"""One watched forward in so many is watched from end to end, the others only in the modules that
attend: so it is noticed when a model begins to attend elsewhere."""


class LayerRegistry:
    """The layers of one model, which it holds by a weak reference; empty before the first."""

    def __init__(
        self, selection: LayerSelection, guard: ErrorGuard, roles: Callable[[], Mapping[str, str]]
    ) -> None:
        """`roles`: returns the roles that the user gave, by the layers' names."""
        self.call_infos: dict[LayerKey, CallInfo] = {}
        """All attention calls of the model; empty while they are to be found (anew)."""
        self.selected: dict[LayerKey, SelectedLayer] = {}
        """The layers that are captured."""
        self.batch_dim: int | None = 0
        """The dimension of the model's inputs that holds the samples; None if there is none."""
        self.compiled = False
        """Whether the model's own forward runs compiled code, and may not be watched."""
        self.handwritten = True
        """Whether tensors have to be followed to find its attention."""
        self._selection = selection
        self._guard = guard
        self._roles = roles
        self._unsupported: dict[str, str] = {}
        self._model: Callable[[], nn.Module | None] = _no_model
        self._module_index = ModuleIndex()
        self._watched = 0
        """Forwards watched since the model's modules changed."""
        self._only_attending = False
        """Whether the present forward is watched in the attending modules alone."""
        self._attends_elsewhere = False
        """Whether that has missed layers of this model, so that it is not done again."""
        self._forward_layers = 0
        """Selected layers that a forward shows; the others are given to `record`."""
        self._attending: Set[str] = frozenset()

    @property
    def model(self) -> nn.Module | None:
        """The model that is known, while it is alive."""
        return self._model()

    # What is known

    def set_model(self, model: nn.Module) -> None:
        """Start anew with this model; does nothing if it is the model that is known."""
        if self._model() is not model:
            self._model = weakref.ref(model)
            self.compiled, self.handwritten = reaches_compiled(unwrap(model)), True
            self._attends_elsewhere = False
            self._set_unsupported({})
            self.set_calls({})

    def set_discovery(self, model: nn.Module, found: Discovery) -> None:
        """Take over what an extra forward of the model has shown."""
        was_compiled = self._model() is model and self.compiled
        self._model = weakref.ref(model)
        self.batch_dim = found.batch_dim
        self.compiled = was_compiled or found.compiled or reaches_compiled(unwrap(model))
        self.handwritten = found.handwritten
        self._set_unsupported(dict(found.refusals))
        self.set_calls({(info.name, info.call_index): info for info in found.call_infos})

    def set_calls(self, call_infos: Mapping[LayerKey, CallInfo]) -> None:
        """Replace the calls; an empty mapping has them found anew. Logs the table of layers."""
        self.call_infos = {**call_infos}
        self._select()
        if call_infos:
            for kind, text in enumerate(self._selection.not_found(self.call_infos, self._roles())):
                self._guard.warn_once(f"missing {kind}", text)
            logger.info("attnmon: the attention of this model\n%s", coverage_table(self.coverage()))

    def add_calls(self, call_infos: Iterable[tuple[LayerKey, CallInfo]]) -> None:
        """Add the calls that the user has given with `record`, as far as they are new."""
        new = {key: info for key, info in call_infos if key not in self.call_infos}
        if new:
            self.call_infos |= new
            self._select()

    def set_unsupported(self, name: str, reason: str) -> None:
        """Note that this module attends in a way that cannot be captured."""
        if self._unsupported.get(name) != reason:
            self._set_unsupported({**self._unsupported, name: reason})

    def _set_unsupported(self, unsupported: dict[str, str]) -> None:
        self._unsupported = unsupported
        self._guard.set_not_seen(
            f"{name or 'the model'}: {why}" for name, why in unsupported.items()
        )

    @property
    def unsupported(self) -> Mapping[str, str]:
        """Modules that attend and cannot be captured, with the reason."""
        return self._unsupported

    def coverage(self) -> tuple[Coverage, ...]:
        """Return a row for each layer: its role, where it was seen, and why it is not captured."""
        return self._selection.coverage(self.call_infos, self._roles(), self._unsupported.items())

    def runs_compiled(self, model: nn.Module, modules: Sequence[nn.Module]) -> bool:
        """Return whether this model, which consists of these modules, runs compiled code."""
        is_known = self._model() is model
        return (is_known and self.compiled) or not is_uncompiled(modules)

    # Where to look

    def scope_of(self, model: nn.Module) -> tuple[Mapping[int, str], Sequence[nn.Module]]:
        """Return the modules' names by id, and the modules to tap; none for the whole forward."""
        modules = modules_in(model)
        before, self._module_index = self._module_index, self._module_index.updated(model, modules)
        self._watched = self._watched + 1 if before is self._module_index else 0
        names, positions = self._module_index.names, self._module_index.positions
        self._only_attending = bool(
            self._watched % WHOLE_FORWARD_EVERY and positions.keys() >= self._attending
        )
        attending = self._attending if self._only_attending else ()
        return names, [modules[positions[name]] for name in attending]

    def watch_whole_forward(self) -> None:
        """Note that the next forward is watched from end to end."""
        self._only_attending = False

    def has_missed_layers(self, layers: int) -> bool:
        """Return whether watching the attending modules alone has shown too few layers.

        Then that is not done again: this model attends elsewhere too, or not always alike.
        """
        if not (self._only_attending and self._attending) or layers >= self._forward_layers:
            return False
        self._attends_elsewhere, self._attending = True, frozenset()
        return True

    def _select(self) -> None:
        self.selected = self._selection.select(self.call_infos, self._roles())
        shown = seen_in_forward(self.selected, self.call_infos)
        self._forward_layers = len(shown)
        scattered = self._attends_elsewhere
        self._attending = frozenset() if scattered else attending_modules(shown, self.call_infos)


def _no_model() -> None:
    return None
