"""What is known of a model's attention: which calls it makes, from where, and which are taken.

Learnt from one forward that is looked at from end to end; again, when the model makes calls that
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
    in_forward,
    sites,
    table,
)

LOOK_AT_ALL_EVERY = 16
"""Of so many forwards that are looked at, one is from end to end, and the others only where the
model attends: a model that begins to attend elsewhere is noticed then."""


class LayerRegistry:
    """One model, by a weak reference; nothing, before the first."""

    def __init__(
        self, choice: LayerSelection, guard: ErrorGuard, roles: Callable[[], Mapping[str, str]]
    ) -> None:
        self.call_infos: dict[LayerKey, CallInfo] = {}
        """Of all its attention; empty while it is to be counted."""
        self.places: dict[LayerKey, SelectedLayer] = {}
        """Of those layers that are taken."""
        self.batch_dim: int | None = 0
        self.compiled = False
        """Whether its forward may not be looked at."""
        self.handwritten = True
        """Whether tensors have to be followed to find its attention."""
        self._choice = choice
        self._guard = guard
        self._roles = roles
        self._refusals: dict[str, str] = {}
        self._model: Callable[[], nn.Module | None] = _no_model
        self._module_index = ModuleIndex()
        self._looks = 0
        self._narrow = False
        self._scattered = False
        self._shown = 0
        self._sites: Set[str] = frozenset()

    @property
    def model(self) -> nn.Module | None:
        return self._model()

    def meet(self, model: nn.Module) -> None:
        """A model of which nothing is known yet; the same again changes nothing."""
        if self._model() is not model:
            self._model = weakref.ref(model)
            self.compiled, self.handwritten = reaches_compiled(unwrap(model)), True
            self._scattered = False
            self._refusals = {}
            self.learn({})

    def discover(self, model: nn.Module, found: Discovery) -> None:
        """What an extra forward has shown."""
        known_to_be = self._model() is model and self.compiled
        self._model = weakref.ref(model)
        self.batch_dim = found.batch_dim
        self.compiled = known_to_be or found.compiled or reaches_compiled(unwrap(model))
        self.handwritten = found.handwritten
        self._refusals = dict(found.refusals)
        self.learn({(seen.name, seen.call_index): seen for seen in found.call_infos})

    def learn(self, call_infos: Mapping[LayerKey, CallInfo]) -> None:
        """These are the model's attention calls; none: they are to be counted anew."""
        self.call_infos = {**call_infos}
        self._choose()
        if call_infos:
            for kind, text in enumerate(self._choice.missing(self.call_infos, self._roles())):
                self._guard.warn_once(f"missing {kind}", text)
            logger.info("attnmon: the attention of this model\n%s", table(self.coverage()))

    def add(self, call_infos: Iterable[tuple[LayerKey, CallInfo]]) -> None:
        """What was given by the user belongs to it as well."""
        new = {key: seen for key, seen in call_infos if key not in self.call_infos}
        if new:
            self.call_infos |= new
            self._choose()

    def refuse(self, name: str, why: str) -> None:
        """This module attends, and it cannot be told how."""
        self._refusals[name] = why

    @property
    def refusals(self) -> Mapping[str, str]:
        return self._refusals

    def coverage(self) -> tuple[Coverage, ...]:
        """A row for each layer: its role, where it was seen, whether and why not it is captured."""
        return self._choice.coverage(self.call_infos, self._roles(), self._refusals.items())

    def runs_compiled(self, model: nn.Module, modules: Sequence[nn.Module]) -> bool:
        """Whether this model, of these modules, is or holds compiled code."""
        known = self._model() is model
        return (known and self.compiled) or not is_uncompiled(modules)

    # Where to look

    def where(self, model: nn.Module) -> tuple[Mapping[int, str], Sequence[nn.Module]]:
        """The modules' names, and those that attend, where it is enough to look into these."""
        modules = modules_in(model)
        before, self._module_index = self._module_index, self._module_index.updated(model, modules)
        self._looks = self._looks + 1 if before is self._module_index else 0
        names, positions = self._module_index.names, self._module_index.positions
        self._narrow = bool(self._looks % LOOK_AT_ALL_EVERY and positions.keys() >= self._sites)
        return names, [modules[positions[name]] for name in self._sites if self._narrow]

    def look_at_all(self) -> None:
        """The next forward is looked at from end to end."""
        self._narrow = False

    def has_overlooked(self, layers: int) -> bool:
        """Whether looking into the attention modules alone has shown only so many of its layers.

        Then it is not done again: this model attends elsewhere too, or not always alike.
        """
        if not (self._narrow and self._sites) or layers >= self._shown:
            return False
        self._scattered, self._sites = True, frozenset()
        return True

    def _choose(self) -> None:
        self.places = self._choice.places(self.call_infos, self._roles())
        shown = in_forward(self.places, self.call_infos)
        self._shown = len(shown)
        self._sites = frozenset() if self._scattered else sites(shown, self.call_infos)


def _no_model() -> None:
    return None
