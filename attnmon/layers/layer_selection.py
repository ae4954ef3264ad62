"""Which of the layers seen are taken: their roles and indices, and what the user asked for.

Pure: from sightings, without tensors, to places and to words about what was left out and why.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from attnmon.capture import RECORDED, CallInfo, LayerPosition, Role, assign_roles

LayerKey = tuple[str, int]
"""A module's name, and which of its calls in this forward: tied layers share a name."""


@dataclass(frozen=True, slots=True)
class SelectedLayer:
    """A layer that was chosen: where it stands in the model, and which of its heads are taken."""

    name: str
    role: Role
    layer: int
    heads: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """One row of the start-up table: a layer, and whether it is captured."""

    name: str
    stack: str
    """ "encoder", "decoder"; empty for a layer that could not be told."""
    type: str
    layer: int | None
    heads: int | None
    source: str
    """The call its attention is taken from."""
    captured: bool
    why: str
    """Why it is not captured, or only approximately; empty otherwise."""


@dataclass(frozen=True, slots=True)
class LayerSelection:
    """What the user asked to see, as far as layers and heads go."""

    layers: tuple[int | str, ...] | None
    """Indices within each role, or patterns of module names; None is all."""
    heads: tuple[int, ...] | None
    """None is all."""

    def places(
        self, seen: Mapping[LayerKey, CallInfo], roles: Mapping[str, str]
    ) -> dict[LayerKey, SelectedLayer]:
        """The layers and heads asked for, of those that were seen, by their key."""
        positions = assign_roles(tuple(seen.values()), roles)
        wanted = self._wanted(positions)
        return {
            key: SelectedLayer(key[0], position.role, position.layer, heads)
            for key, position in positions.items()
            if key in wanted and (heads := self._heads_of(seen[key]))
        }

    def coverage(
        self,
        seen: Mapping[LayerKey, CallInfo],
        roles: Mapping[str, str],
        refusals: Iterable[tuple[str, str]],
    ) -> tuple[Coverage, ...]:
        """A row for each layer that was seen, and for each that could not be told."""
        taken = self.places(seen, roles)
        rows = [
            _row(seen[key], position, self._why_not(key in taken, seen[key]), key in taken)
            for key, position in assign_roles(tuple(seen.values()), roles).items()
        ]
        refused = dict(refusals)
        rows += [
            Coverage(name, "", "", None, None, "", False, why) for name, why in refused.items()
        ]
        return tuple(rows)

    def missing(self, seen: Mapping[LayerKey, CallInfo], roles: Mapping[str, str]) -> list[str]:
        """In words: what was asked for and does not exist."""
        said = []
        if self.heads is not None:
            few = [call_info for call_info in seen.values() if max(self.heads) >= call_info.heads]
            said += [_no_such_head(self.heads, few[0])] if few else []
        positions = assign_roles(tuple(seen.values()), roles)
        if self.layers is not None and positions:
            lost = [asked for asked in self.layers if not self._takes_any(asked, positions)]
            said += [_no_such_layer(lost, positions)] if lost else []
        return said

    def _wanted(self, positions: Mapping[LayerKey, LayerPosition]) -> set[LayerKey]:
        if self.layers is None:
            return set(positions)
        return {key for asked in self.layers for key in _matching(asked, positions)}

    def _takes_any(self, asked: int | str, positions: Mapping[LayerKey, LayerPosition]) -> bool:
        return bool(_matching(asked, positions))

    def _heads_of(self, call_info: CallInfo) -> tuple[int, ...]:
        every = range(call_info.heads)
        return tuple(every if self.heads is None else (h for h in self.heads if h in every))

    def _why_not(self, taken: bool, call_info: CallInfo) -> str:
        if taken:
            return call_info.note
        return "not in layers_to_visualize" if self._heads_of(call_info) else "none of these heads"


def in_forward(places: Iterable[LayerKey], known: Mapping[LayerKey, CallInfo]) -> list[LayerKey]:
    """Those of the places that a forward shows; the others are given to `record`."""
    return [key for key in places if known[key].source != RECORDED]


def sites(places: Iterable[LayerKey], known: Iterable[LayerKey]) -> frozenset[str]:
    """The modules that make the attention of these places; none where the model itself does.

    With those inside them that attend as well: what these do is theirs, and not the outer one's.
    """
    names = {name for name, _ in places}
    inside = {name for name, _ in known if any(name.startswith(f"{outer}.") for outer in names)}
    return frozenset(() if "" in names else names | inside)


def table(rows: Iterable[Coverage]) -> str:
    """The rows as text, one line each, for the log."""
    head = ("layer", "role", "heads", "seen in", "captured")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(row: Coverage) -> tuple[str, str, str, str, str]:
    role = "" if row.layer is None else f"{row.stack} {row.layer} {row.type.partition('_')[0]}"
    verdict = "yes" if row.captured else "no"
    captured = f"{verdict}: {row.why}" if row.why else verdict
    return row.name or "(the model)", role, str(row.heads or ""), row.source, captured


def _row(call_info: CallInfo, position: LayerPosition, why: str, captured: bool) -> Coverage:
    role = position.role
    return Coverage(
        call_info.name, role.stack, role.type, position.layer, call_info.heads, call_info.source,
        captured, why,
    )  # fmt: skip


def _matching(asked: int | str, positions: Mapping[LayerKey, LayerPosition]) -> list[LayerKey]:
    """The layers one entry of `layers_to_visualize` means: by name, or by index in each role."""
    if isinstance(asked, str):
        return [key for key in positions if fnmatchcase(key[0], asked)]
    ranks: defaultdict[Role, list[LayerKey]] = defaultdict(list)
    for key, position in positions.items():
        ranks[position.role].append(key)
    return [keys[asked] for keys in ranks.values() if -len(keys) <= asked < len(keys)]


def _no_such_layer(asked: list[int | str], positions: Mapping[LayerKey, LayerPosition]) -> str:
    last: dict[Role, int] = {}
    for position in positions.values():
        last[position.role] = max(position.layer, last.get(position.role, 0))
    there = ", ".join(f"{role.stack} {role.type} 0 … {layer}" for role, layer in last.items())
    names = ", ".join(name for name, _ in list(positions)[:3])
    return (
        f"layers_to_visualize: there is no layer {', '.join(map(repr, asked))}; there are {there}, "
        f"in modules such as {names}."
    )


def _no_such_head(wanted: tuple[int, ...], call_info: CallInfo) -> str:
    return (
        f"heads_to_visualize={list(wanted)}: {call_info.name or 'the model'} has the heads "
        f"0 … {call_info.heads - 1}; those that do not exist are left out."
    )
