"""Which of the layers seen are captured: their roles and indices, and what the user asked for.

Pure functions of call descriptions, without tensors.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from attnmon.capture import RECORDED, CallInfo
from attnmon.layers.layer_numbering import LayerKey, LayerPosition, Numbering, Role


@dataclass(frozen=True, slots=True)
class SelectedLayer:
    """A layer that is captured: where it stands in the model, and which of its heads."""

    name: str
    role: Role
    layer: int
    """Index among the layers of its role."""
    heads: tuple[int, ...]
    """Indices of the heads that are captured, in the model's numbering."""
    drawn: bool = True
    """Whether pictures of it are asked for; otherwise only its maps."""


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
    """Why it is not captured, or what was assumed or left out; empty otherwise."""


@dataclass(frozen=True, slots=True)
class LayerSelection:
    """The layers and heads that the user asked for."""

    layers: tuple[int | str, ...] | None
    """Indices within each role, or patterns of module names; None for all."""
    heads: tuple[int, ...] | None
    """Indices of heads; None for all."""
    maps_of_all: bool = False
    """Whether the other layers are captured as well, for their maps."""

    def select(
        self, seen: Mapping[LayerKey, CallInfo], numbering: Numbering
    ) -> dict[LayerKey, SelectedLayer]:
        """Return the layers and heads asked for, of those that were seen."""
        drawn = self._wanted(numbering)
        return {
            key: SelectedLayer(key[0], position.role, position.layer, heads, key in drawn)
            for key, position in numbering.positions.items()
            if (self.maps_of_all or key in drawn) and (heads := self._heads_of(seen[key]))
        }

    def coverage(
        self,
        seen: Mapping[LayerKey, CallInfo],
        numbering: Numbering,
        unsupported: Iterable[tuple[str, str]],
    ) -> tuple[Coverage, ...]:
        """Return a row for each layer that was seen, and for each that cannot be captured."""
        selected = self.select(seen, numbering)
        rows = [
            _row(seen[key], position, self._remark(selected.get(key), seen[key]), key in selected)
            for key, position in numbering.positions.items()
        ]
        rows += [
            Coverage(name, "", "", None, None, "", False, reason)
            for name, reason in dict(unsupported).items()
        ]
        return tuple(rows)

    def not_found(self, seen: Mapping[LayerKey, CallInfo], numbering: Numbering) -> list[str]:
        """Return a warning for each kind of thing that was asked for and does not exist."""
        warnings = []
        if self.heads is not None:
            few = [call_info for call_info in seen.values() if max(self.heads) >= call_info.heads]
            warnings += [_no_such_head(self.heads, few[0])] if few else []
        if self.layers is not None and numbering.positions:
            lost = [asked for asked in self.layers if not _exists(asked, numbering)]
            warnings += [_no_such_layer(lost, numbering)] if lost else []
        return warnings

    def _wanted(self, numbering: Numbering) -> set[LayerKey]:
        if self.layers is None:
            return set(numbering.positions)
        return {key for asked in self.layers for key in _matching(asked, numbering)}

    def _heads_of(self, call_info: CallInfo) -> tuple[int, ...]:
        every = range(call_info.heads)
        return tuple(every if self.heads is None else (h for h in self.heads if h in every))

    def _remark(self, selected: SelectedLayer | None, call_info: CallInfo) -> str:
        if selected is not None:
            return call_info.note if selected.drawn else "maps only: not in layers_to_visualize"
        return "not in layers_to_visualize" if self._heads_of(call_info) else "none of these heads"


def seen_in_forward(
    layers: Iterable[LayerKey], call_infos: Mapping[LayerKey, CallInfo]
) -> list[LayerKey]:
    """Return those of the layers that a forward shows; the others are given to `record`."""
    return [key for key in layers if call_infos[key].source != RECORDED]


def attending_modules(layers: Iterable[LayerKey], calls: Iterable[LayerKey]) -> frozenset[str]:
    """Return the names of the modules that make the attention of these layers.

    Includes modules inside them that attend as well, so that their calls are not taken for the
    outer one's. Empty where the model itself attends, outside of any module.
    """
    names = {name for name, _ in layers}
    inside = {name for name, _ in calls if any(name.startswith(f"{outer}.") for outer in names)}
    return frozenset(() if "" in names else names | inside)


def coverage_table(rows: Iterable[Coverage]) -> str:
    """Return the rows as text, one line each, for the log."""
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


def _matching(asked: int | str, numbering: Numbering) -> list[LayerKey]:
    """Return the layers that one entry means: by name pattern, or by index in each role."""
    positions = numbering.positions
    if isinstance(asked, str):
        return [key for key in positions if fnmatchcase(key[0], asked)]

    def is_meant(position: LayerPosition) -> bool:
        return position.layer == (asked if asked >= 0 else numbering.totals[position.role] + asked)

    return [key for key, position in positions.items() if is_meant(position)]


def _exists(asked: int | str, numbering: Numbering) -> bool:
    """Return whether one entry means a layer, be it one that was not seen this time."""
    if isinstance(asked, str):
        return bool(_matching(asked, numbering))
    return any(-total <= asked < total for total in numbering.totals.values())


def _no_such_layer(asked: list[int | str], numbering: Numbering) -> str:
    totals: Iterable[tuple[Role, int]] = numbering.totals.items()
    there = ", ".join(f"{role.stack} {role.type} 0 … {total - 1}" for role, total in totals)
    names = ", ".join(name for name, _ in list(numbering.positions)[:3])
    return (
        f"layers_to_visualize: there is no layer {', '.join(map(repr, asked))}; there are {there}, "
        f"in modules such as {names}."
    )


def _no_such_head(wanted: tuple[int, ...], call_info: CallInfo) -> str:
    return (
        f"heads_to_visualize={list(wanted)}: {call_info.name or 'the model'} has the heads "
        f"0 … {call_info.heads - 1}; those that do not exist are left out."
    )
