"""From a model and its inputs to the layers asked for: discover once, then look at those.

The first capture only counts the layers and tells their roles, since "the last layer" means
nothing before that. Whenever the model makes calls that it did not make then, the places are
chosen anew.
"""

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from attnmon.capture import Observation, Role, Sighting, assign_roles, discover, parse_role, probe
from attnmon.guard import Guard
from attnmon.settings import Settings

Key = tuple[str, int]
"""A module's name, and which of its calls in this forward: tied layers share a name."""


@dataclass(frozen=True, slots=True)
class Place:
    """A layer that was chosen: where it stands in the model, and which of its heads are taken."""

    name: str
    role: Role
    layer: int
    heads: tuple[int, ...]


Deliver = Callable[[Place, Observation], None]


class Watcher:
    """Remembers what a model's forward looks like, and what of it the user wants to see."""

    def __init__(self, settings: Settings, guard: Guard) -> None:
        self._settings = settings
        self._guard = guard
        self._model: Callable[[], nn.Module | None] = _no_model
        self._batch_dim: int | None = 0
        self._sightings: dict[Key, Sighting] = {}
        self._places: dict[Key, Place] = {}
        self._roles: dict[str, Role] = {}
        self._recorded: dict[Key, Recorded] = {}

    def watch(self, model: nn.Module | None, enc: Any, dec: Any, deliver: Deliver) -> int:
        """Deliver every chosen layer's attention of one sample; the index of the sample.

        Raises what the model raises, and what `deliver` does.
        """
        if model is not None and self._model() is not model:
            self._discover(model, enc, dec)
        self._note_recorded()
        sample = self._settings.sample
        if model is not None:
            sample = self._look(model, enc, dec, deliver)
        self._deliver_recorded(deliver)
        if not self._sightings:
            self._guard.failed("nothing", _nothing_found(model))
        return sample

    def _discover(self, model: nn.Module, enc: Any, dec: Any) -> None:
        chosen = self._settings
        with _first_error() as note:
            found = discover(
                model,
                enc,
                dec,
                note,
                sample=chosen.sample,
                batch_dim="auto" if chosen.batch_dim is None else chosen.batch_dim,
                forward_fn=chosen.forward_fn,
            )
        self._sightings = {(seen.name, seen.call): seen for seen in found.sightings}
        self._batch_dim = found.batch_dim
        self._model = weakref.ref(model)
        self._choose()

    def _look(self, model: nn.Module, enc: Any, dec: Any, deliver: Deliver) -> int:
        strangers = False

        def receive(observation: Observation) -> None:
            nonlocal strangers
            key = (observation.name, observation.call)
            strangers = strangers or key not in self._sightings
            place = self._places.get(key)
            if place is not None:
                deliver(place, observation.of_sample(0))

        chosen = self._settings
        with _first_error() as note:
            call = probe(
                model,
                enc,
                dec,
                receive,
                note,
                sample=chosen.sample,
                batch_dim=self._batch_dim,
                forward_fn=chosen.forward_fn,
            )
        if strangers:
            self._model = _no_model  # it has changed its ways: discover again next time
        if call.sample != chosen.sample:
            self._guard.warn_once("sample", _smaller_batch(chosen.sample, call.batch))
        return call.sample

    # What the user has himself

    def record(self, observation: Observation, role: str | None) -> None:
        """Keep it until the next `log_attention`, which copies it if it is due."""
        calls = sum(name == observation.name for name, _ in self._recorded)
        key = (observation.name, calls)
        if role is not None:
            self._roles[observation.name] = parse_role(role)
        versions = tuple(tensor._version for tensor in tensors_of(observation))
        self._recorded[key] = Recorded(replace(observation, call=calls), versions)

    def forget_recorded(self) -> None:
        """What was not due is not kept: it would hold the step's memory."""
        self._recorded.clear()

    def _note_recorded(self) -> None:
        new = {key: kept for key, kept in self._recorded.items() if key not in self._sightings}
        for key, kept in new.items():
            self._sightings[key] = Sighting.of(kept.observation, self._sample_in(kept.observation))
        if new:
            self._choose()

    def _deliver_recorded(self, deliver: Deliver) -> None:
        for key, kept in self._recorded.items():
            place = self._places.get(key)
            if place is not None:
                deliver(place, kept.unchanged().of_sample(self._sample_in(kept.observation)))

    def _sample_in(self, observation: Observation) -> int:
        return min(self._settings.sample, max(observation.batch - 1, 0))

    # Which layers and heads

    def _choose(self) -> None:
        positions = assign_roles(tuple(self._sightings.values()), self._roles)
        layers: defaultdict[Role, list[Key]] = defaultdict(list)
        for key, position in positions.items():
            layers[position.role].append(key)
        wanted = {key for keys in layers.values() for key in self._wanted(keys)}
        if not wanted and positions:
            counts = {role: len(keys) for role, keys in layers.items()}
            self._guard.warn_once("layers", _no_such_layer(self._settings.layers, counts))
        self._places = {
            key: Place(key[0], position.role, position.layer, heads)
            for key, position in positions.items()
            if key in wanted and (heads := self._heads(self._sightings[key]))
        }

    def _wanted(self, keys: list[Key]) -> Iterable[Key]:
        """Of the layers of one role, in their order, those that were asked for."""
        if self._settings.layers is None:
            return keys
        return [keys[i] for i in self._settings.layers if -len(keys) <= i < len(keys)]

    def _heads(self, sighting: Sighting) -> tuple[int, ...]:
        chosen = self._settings.head_indices
        if chosen is None:
            return tuple(range(sighting.heads))
        heads = tuple(head for head in chosen if head < sighting.heads)
        if heads != chosen:
            self._guard.warn_once("heads", _no_such_head(chosen, sighting))
        return heads


def _no_model() -> None:
    return None


@contextmanager
def _first_error() -> Iterator[Callable[[Exception], None]]:
    """What goes wrong of ours inside the model's forward is raised after it, the first only."""
    errors: list[Exception] = []
    yield errors.append
    if errors:
        raise errors[0]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Attention the user gave, with the versions its tensors had then."""

    observation: Observation
    versions: tuple[int, ...]

    def unchanged(self) -> Observation:
        """The observation; marked when its tensors were written to since it was given."""
        if tuple(tensor._version for tensor in tensors_of(self.observation)) == self.versions:
            return self.observation
        return replace(self.observation, note="changed in place after it was recorded")


def tensors_of(observation: Observation) -> list[Tensor]:
    given = (observation.weights, observation.query, observation.key, observation.bias)
    return [tensor for tensor in given if tensor is not None]


def _nothing_found(model: nn.Module | None) -> str:
    seen = "no model was given"
    if model is not None:
        seen = f"no attention was seen in {type(model).__name__}"
    return (
        f"{seen}: 0 layers can be captured. Attention is found where it is computed by "
        "scaled_dot_product_attention, nn.MultiheadAttention or softmax(query · key) · value; give "
        "other weights with monitor.record(name, weights=...). Training goes on."
    )


def _smaller_batch(wanted: int, batch: int) -> str:
    return (
        f"batch_idx_to_visualize={wanted}, but a batch had only {batch} samples; its last one is "
        "shown instead. metadata.sample in the statistics says which was taken."
    )


def _no_such_layer(wanted: tuple[int, ...] | None, counts: dict[Role, int]) -> str:
    there = ", ".join(f"{role.stack} {role.type} 0 … {n - 1}" for role, n in counts.items())
    return f"layers_to_visualize={list(wanted or ())}: none of these exist; there are {there}."


def _no_such_head(wanted: tuple[int, ...], sighting: Sighting) -> str:
    return (
        f"heads_to_visualize={list(wanted)}: {sighting.name or 'the model'} has the heads "
        f"0 … {sighting.heads - 1}; those that do not exist are left out."
    )
