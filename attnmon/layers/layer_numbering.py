"""Numbers the layers: gives each attention call its role, and its index among those of that role.

The calls of a whole forward are needed, since the same name means one thing in an encoder-decoder
and another in a model with one stack.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from attnmon.capture import RECORDED, CallInfo
from attnmon.layers.module_order import ModuleOrder, pattern_of

Stack = Literal["encoder", "decoder"]
AttentionType = Literal["self_attention", "cross_attention"]

LayerKey = tuple[str, int]
"""A module's name, and the index of the call among its calls in one forward.

Tied layers share a name.
"""


@dataclass(frozen=True, slots=True)
class Role:
    """What an attention layer is for."""

    stack: Stack
    type: AttentionType


ROLES = {
    "encoder_self": Role("encoder", "self_attention"),
    "decoder_self": Role("decoder", "self_attention"),
    "decoder_cross": Role("decoder", "cross_attention"),
}
"""Each role by the name that users write."""


@dataclass(frozen=True, slots=True)
class LayerPosition:
    """The role of a layer, and its index among the layers of that role."""

    role: Role
    layer: int


@dataclass(frozen=True, slots=True)
class Numbering:
    """The layers that were seen, with their numbers, and how many there are of each role."""

    positions: dict[LayerKey, LayerPosition] = field(default_factory=dict)
    totals: Counter[Role] = field(default_factory=Counter)
    """Also counts layers that were not seen: modules like those that were."""


def number_layers(
    call_infos: Sequence[CallInfo],
    overrides: Mapping[str, str | Role] | None = None,
    order: ModuleOrder | None = None,
    known: Mapping[LayerKey, LayerPosition] | None = None,
) -> Numbering:
    """Returns the position of each call.

    Layers are numbered within a role in the order of their modules in the model; what the model
    does not hold, in the order of the calls. A module that was not called has a number too, if one
    like it was: so numbers stay the same when layers are skipped. overrides: a role, or its name in
    `ROLES`, by name pattern as in `fnmatch`; the first that matches counts. known: positions given
    before, which stay.

    Raises `ValueError` for a role that does not exist.
    """
    roles = _roles(call_infos, overrides or {}, known or {})
    by_role: defaultdict[Role, list[LayerKey]] = defaultdict(list)
    for key, role in roles.items():
        by_role[role].append(key)
    numbering = Numbering()
    for role, keys in by_role.items():
        numbers, total = _numbers(keys, roles, role, order or ModuleOrder())
        fixed = {key: position.layer for key in keys if (position := (known or {}).get(key))}
        taken = set(fixed.values())
        for key in keys:
            number = fixed.get(key, numbers[key])
            if key not in fixed and number in taken:
                number = max(*taken, total - 1) + 1
            taken.add(number)
            numbering.positions[key] = LayerPosition(role, number)
        numbering.totals[role] = max(total, *(number + 1 for number in taken))
    return numbering


def _numbers(
    keys: Sequence[LayerKey], roles: Mapping[LayerKey, Role], role: Role, order: ModuleOrder
) -> tuple[dict[LayerKey, int], int]:
    """Returns the numbers of one role's calls, and how many layers of it the model has."""
    indices: defaultdict[str, list[int]] = defaultdict(list)
    for name, index in keys:
        indices[name].append(index)
    calls: Counter[str] = Counter()
    for name, found in indices.items():
        calls[pattern_of(name)] = max(calls[pattern_of(name)], len(found))
    of_others = {name for (name, _), other in roles.items() if other != role} - set(indices)
    numbers: dict[LayerKey, int] = {}
    total = 0
    for name in order.with_siblings(indices):
        found = sorted(indices.get(name, ()))
        numbers |= {(name, index): total + rank for rank, index in enumerate(found)}
        if name not in of_others:
            total += max(len(found), calls[pattern_of(name)])
    return numbers, total


def parse_role(role: str | Role) -> Role:
    """Returns the role of this name. Raises `ValueError` for a name that is not in `ROLES`."""
    if isinstance(role, Role):
        return role
    if role not in ROLES:
        raise ValueError(f"role {role!r}: choose one of {', '.join(ROLES)}")
    return ROLES[role]


_CROSS = re.compile(
    r"encoder_attn|encdecattention|enc(oder)?_?dec(oder)?_?att|cross[_-]?att|src_attn", re.I
)
_STACK = re.compile(r"encoder|decoder|(?<![a-z])(?:enc|dec)(?![a-z])", re.I)
_BOTH_STACKS = re.compile(r"enc(oder)?_?dec(oder)?", re.I)
_CROSS_BESIDE_SELF = {"multihead_attn": "self_attn", "attn2": "attn1"}
"""Names that mean cross-attention only beside this name, which then is the self-attention."""


def _roles(
    call_infos: Sequence[CallInfo],
    overrides: Mapping[str, str | Role],
    known: Mapping[LayerKey, LayerPosition],
) -> dict[LayerKey, Role]:
    patterns = {pattern: parse_role(role) for pattern, role in overrides.items()}
    names = {call_info.name for call_info in call_infos}
    has_cross = any(_is_cross(call_info, names) for call_info in call_infos)
    roles: dict[LayerKey, Role] = {}
    for call_info in call_infos:
        key = (call_info.name, call_info.call_index)
        found = _overridden(call_info.name, patterns) or _role(call_info, names, has_cross)
        roles.setdefault(key, known[key].role if key in known else found)
    return roles


def _overridden(name: str, patterns: Mapping[str, Role]) -> Role | None:
    return next((role for pattern, role in patterns.items() if fnmatchcase(name, pattern)), None)


def _role(call_info: CallInfo, names: set[str], has_cross: bool) -> Role:
    if _is_cross(call_info, names):
        return ROLES["decoder_cross"]
    stack = _named_stack(call_info.name)
    # A causal nn.TransformerEncoder without cross-attention is a language model: a decoder.
    causal = call_info.causal and not (has_cross and stack == "encoder")
    return ROLES["decoder_self" if stack == "decoder" or causal else "encoder_self"]


def _is_cross(call_info: CallInfo, names: set[str]) -> bool:
    """Whether the keys come from elsewhere than the queries: as was seen, else as the name says.

    Lengths tell nothing: caches, prefixes, pooled keys or a class token alone make them differ.
    Only of recorded attention nothing else is known.
    """
    if call_info.is_cross is not None:
        return call_info.is_cross
    if _CROSS.search(call_info.name):
        return True
    block, _, leaf = call_info.name.rpartition(".")
    beside = _CROSS_BESIDE_SELF.get(leaf)
    if beside is not None and (f"{block}.{beside}" if block else beside) in names:
        return True
    differs = call_info.queries != call_info.keys
    return call_info.source == RECORDED and differs and not call_info.causal


def _named_stack(name: str) -> Stack | None:
    found = _STACK.search(_BOTH_STACKS.sub("", name))
    if found is None:
        return None
    return "encoder" if found[0].lower().startswith("enc") else "decoder"
