"""The attention calls that a model makes, which of them are captured, and where to look for them.

Filled from one forward that is watched from end to end; and again, when the model makes calls that
it did not make then.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from torch import nn

from attnmon.accounting.error_guard import ErrorGuard, inform
from attnmon.capture import (
    OTHERWISE,
    CallInfo,
    CallsByName,
    Discovery,
    FollowedLayouts,
    Inputs,
    KnownLayouts,
    ModuleIndex,
    TapScope,
    is_uncompiled,
    join_notes,
    modules_in,
    reaches_compiled,
    unwrap,
)
from attnmon.layers.layer_numbering import LayerKey, Numbering, Role, number_layers
from attnmon.layers.layer_selection import (
    Coverage,
    LayerSelection,
    SelectedLayer,
    attending_modules,
    coverage_table,
    seen_in_forward,
)
from attnmon.layers.layout_registry import LayoutRegistry
from attnmon.layers.module_order import ModuleOrder
from attnmon.layers.unseen_layers import UnseenLayers

NO_REASONS: Mapping[str, str] = MappingProxyType({})
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
        self.layouts = LayoutRegistry()
        """Where each layer's tensors hold samples and heads."""
        self.unseen = UnseenLayers(guard, lambda: (name for name, _ in self.call_infos))
        """What of the model's attention is not captured."""
        self._numbering = Numbering()
        self._order = ModuleOrder()
        self._selection = selection
        self._guard = guard
        self._roles = roles
        self._model: Callable[[], nn.Module | None] = _no_model
        self._module_index = ModuleIndex()
        self._watched = 0
        """Forwards watched since the model's modules changed."""
        self._calls_by_name: CallsByName = {}
        """How the modules of the model make their attention calls."""
        self._relies_on_names = False
        """Whether in the present forward some modules are tapped without a function mode."""
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

    @property
    def roles(self) -> Set[Role]:
        """The roles of the layers that were seen, captured or not."""
        return self._numbering.totals.keys()

    # What is known

    def set_model(self, model: nn.Module) -> None:
        """Start anew with this model; does nothing if it is the model that is known."""
        if self._model() is not model:
            self._model = weakref.ref(model)
            self.compiled, self.handwritten = reaches_compiled(unwrap(model)), True
            self._attends_elsewhere = False
            self.unseen.clear()
            self.layouts, self._numbering = LayoutRegistry(), Numbering()
            self.set_calls({})

    def set_discovery(self, model: nn.Module, found: Discovery) -> None:
        """Take over what an extra forward of the model has shown."""
        was_compiled = self._model() is model and self.compiled
        self.set_model(model)
        self.batch_dim = found.batch_dim
        self.compiled = was_compiled or found.compiled or reaches_compiled(unwrap(model))
        self.handwritten = found.handwritten
        self.unseen.forget_refused()
        for name, call_index, reason in found.refusals:
            self.set_unsupported(name, reason, call_index)
        self.layouts.add(found.call_infos, found.samples)
        self.set_calls({(info.name, info.call_index): info for info in found.call_infos})
        if not found.call_infos:
            self.find_silent_modules()

    def set_calls(self, call_infos: Mapping[LayerKey, CallInfo]) -> None:
        """Replace the calls; an empty mapping has them found anew. Logs the table of layers."""
        self.call_infos = {**call_infos}
        model = self._model()
        self._order = ModuleOrder() if model is None else ModuleOrder.of(model)
        self._select()
        if call_infos:
            self.find_silent_modules()
            for kind, text in enumerate(
                self._selection.not_found(self.call_infos, self._numbering)
            ):
                self._guard.warn_once(f"missing {kind}", text)
            inform(f"attnmon: the attention of this model\n{coverage_table(self.coverage())}")

    def add_calls(self, call_infos: Iterable[tuple[LayerKey, CallInfo]]) -> None:
        """Add calls that were not made before, or that the user has given with `record`."""
        new = {key: info for key, info in call_infos if key not in self.call_infos}
        if new:
            self.call_infos |= new
            self._select()
            self.unseen.tell()

    def set_unsupported(self, name: str, reason: str, call_index: int | None = None) -> None:
        """Note that this module attends in a way that cannot be captured."""
        self.unseen.refuse(name, reason)
        if call_index is not None:
            self.layouts.refuse((name, call_index), reason)

    def clear_unsupported(self) -> None:
        """Forget why modules cannot be captured, but for calls that make no map."""
        self.unseen.forget_refused(self.layouts.has_refused)

    def knows(self, key: LayerKey) -> bool:
        """Return whether this call was seen before, captured or refused."""
        return key in self.call_infos or self.layouts.is_refused(key)

    def find_silent_modules(self) -> None:
        """Note the modules that look like attention; those of which something is told are not."""
        self.unseen.find_silent(self._model())

    @property
    def unsupported(self) -> Mapping[str, str]:
        """Modules that attend, or seem to, and cannot be captured, with the reason."""
        return dict(self.unseen.rows())

    def coverage(self, sent_as_queries: Mapping[str, str] = NO_REASONS) -> tuple[Coverage, ...]:
        """Return a row for each layer: its role, where it was seen, and why it is not captured.

        `sent_as_queries`: why a layer is not summed up on its device, by the module's name.
        """
        rows = self._selection.coverage(self.call_infos, self._numbering, self.unseen.rows())
        return tuple(_with_reason(row, sent_as_queries.get(row.name, "")) for row in rows)

    def runs_compiled(self, model: nn.Module, modules: Sequence[nn.Module]) -> bool:
        """Return whether this model, which consists of these modules, runs compiled code."""
        is_known = self._model() is model
        return (is_known and self.compiled) or not is_uncompiled(modules)

    # Where to look

    def samples_in(self, inputs: Inputs) -> int:
        """Return how many samples the model's inputs hold; 0 if that is not known.

        An input that is the same for all samples has size 1.
        """
        dim = self.batch_dim
        if dim is None:
            return 1
        found = {tensor.shape[dim] for tensor in inputs if tensor.ndim > dim}
        sizes = found - {1} or found
        return sizes.pop() if len(sizes) == 1 else 0

    def scope_of(self, model: nn.Module, inputs: Inputs) -> TapScope:
        """Return what of this forward is to be tapped."""
        layouts = self.layouts_for(inputs)
        names, modules = self._tapped(model, layouts.follows)
        calls_by_name = None if layouts.follows else self._calls_by_name
        self._relies_on_names = any(count > 0 for count in (calls_by_name or {}).values())
        return TapScope(names, modules, layouts, calls_by_name)

    def layouts_for(self, inputs: Inputs) -> FollowedLayouts | KnownLayouts:
        """Return what tells the layouts of a forward of these inputs."""
        samples = self.samples_in(inputs)
        if self.layouts.has_to_follow(samples):
            return FollowedLayouts(inputs, self.batch_dim)
        return KnownLayouts(partial(self.layouts.find, samples))

    def _tapped(
        self, model: nn.Module, is_whole: bool
    ) -> tuple[Mapping[int, str], Sequence[nn.Module]]:
        """Return the modules' names by id, and the modules to tap; none for the whole forward."""
        modules = modules_in(model)
        before, self._module_index = self._module_index, self._module_index.updated(model, modules)
        self._watched = self._watched + 1 if before is self._module_index else 0
        if not self._watched:
            self._calls_by_name = {}
        names, positions = self._module_index.names, self._module_index.positions
        self._only_attending = bool(
            not is_whole
            and self._watched % WHOLE_FORWARD_EVERY
            and positions.keys() >= self._attending
        )
        attending = self._attending if self._only_attending else ()
        return names, [modules[positions[name]] for name in attending]

    @property
    def way_of_watching(self) -> tuple[bool, bool]:
        """How the present forward is watched: forwards watched in one way cost the same."""
        return self._only_attending, self._relies_on_names

    def watch_whole_forward(self) -> None:
        """Note that the next forward is watched from end to end."""
        self._only_attending = False

    def set_followed(self, call_infos: Iterable[CallInfo], samples: int) -> None:
        """Take over what a followed forward of so many samples has shown of its layers' order."""
        infos = {(info.name, info.call_index): info for info in call_infos}
        self.layouts.add(infos.values(), samples)
        layouts = (info.layout for info in infos.values() if info.layout is not None)
        dims = {layout.batch_dim for layout in layouts if layout.batch_dim is not None}
        if len(dims) == 1 and self.batch_dim is not None:
            (self.batch_dim,) = dims
        known = {key: info for key, info in infos.items() if key in self.call_infos}
        if known:
            self.call_infos |= known
            self._select()

    def notice_layers(self, layers: int) -> None:
        """Notice how many layers a forward has shown, at its end.

        Where the attending modules alone were watched and showed too few, that is not done again:
        this model attends elsewhere too, or not always alike. First they get the function mode,
        where some had none.
        """
        if not self.call_infos:
            self.find_silent_modules()
        if not (self._only_attending and self._attending and layers < self._forward_layers):
            return
        if self._relies_on_names:
            self._calls_by_name = dict.fromkeys(self._calls_by_name, OTHERWISE)
        else:
            self._attends_elsewhere, self._attending = True, frozenset()

    def _select(self) -> None:
        self._numbering = number_layers(
            tuple(self.call_infos.values()), self._roles(), self._order, self._numbering.positions
        )
        self.selected = self._selection.select(self.call_infos, self._numbering)
        shown = seen_in_forward(self.selected, self.call_infos)
        self._forward_layers = len(shown)
        self._calls_by_name = {}
        attending = attending_modules(shown, self.call_infos)
        called = {name for name, _ in self.call_infos}
        attending |= set(self._order.with_siblings(attending)) - called  # the next may call them
        self._attending = frozenset() if self._attends_elsewhere else attending


def _with_reason(row: Coverage, reason: str) -> Coverage:
    if not (reason and row.captured):
        return row
    return replace(row, why=join_notes(row.why, f"not summed up on its device: {reason}"))


def _no_model() -> None:
    return None
