"""Numbers the layers: gives each attention call its role, and its index among those of that role.

The calls of a whole forward are needed, since the same name means one thing in an encoder-decoder
and another in a model with one stack.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from attnmon.capture import CallInfo

Stack = Literal["encoder", "decoder"]
AttentionType = Literal["self_attention", "cross_attention"]


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


_CROSS = re.compile(
    r"encoder_attn|encdecattention|enc(oder)?_?dec(oder)?_?att|cross[_-]?att|src_attn", re.I
)
_SELF = re.compile(r"self[_-]?att|attention\.self", re.I)
_STACK = re.compile(r"encoder|decoder|(?<![a-z])(?:enc|dec)(?![a-z])", re.I)
_BOTH_STACKS = re.compile(r"enc(oder)?_?dec(oder)?", re.I)
_CROSS_BESIDE_SELF = {"multihead_attn": "self_attn", "attn2": "attn1"}
"""Names that mean cross-attention only beside this name, which then is the self-attention."""


def assign_roles(
    call_infos: Sequence[CallInfo], overrides: Mapping[str, str | Role] | None = None
) -> dict[tuple[str, int], LayerPosition]:
    """Returns the position of each (name, call index).

    Layers are numbered within a role in the order of their first call. overrides: a role, or its
    name in `ROLES`, by name pattern as in `fnmatch`; the first that matches counts. Raises
    `ValueError` for a role that does not exist.
    """
    patterns = {pattern: parse_role(role) for pattern, role in (overrides or {}).items()}
    names = {call_info.name for call_info in call_infos}
    has_cross = any(_is_cross(call_info, names) for call_info in call_infos)
    positions: dict[tuple[str, int], LayerPosition] = {}
    layers: Counter[Role] = Counter()
    for call_info in call_infos:
        key = (call_info.name, call_info.call_index)
        if key in positions:
            continue
        role = _overridden(call_info.name, patterns) or _role(call_info, names, has_cross)
        positions[key] = LayerPosition(role, layers[role])
        layers[role] += 1
    return positions


def parse_role(role: str | Role) -> Role:
    """Returns the role of this name. Raises `ValueError` for a name that is not in `ROLES`."""
    if isinstance(role, Role):
        return role
    if role not in ROLES:
        raise ValueError(f"role {role!r}: choose one of {', '.join(ROLES)}")
    return ROLES[role]


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
    if _CROSS.search(call_info.name):
        return True
    block, _, leaf = call_info.name.rpartition(".")
    beside = _CROSS_BESIDE_SELF.get(leaf)
    if beside is not None and (f"{block}.{beside}" if block else beside) in names:
        return True
    # Key caches (causal) and pooled keys (self by name) make the lengths differ, too.
    differs = call_info.queries != call_info.keys
    return differs and not call_info.causal and not _SELF.search(call_info.name)


def _named_stack(name: str) -> Stack | None:
    found = _STACK.search(_BOTH_STACKS.sub("", name))
    if found is None:
        return None
    return "encoder" if found[0].lower().startswith("enc") else "decoder"
