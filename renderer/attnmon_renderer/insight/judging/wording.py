"""Puts places, heads and figures into words."""

from collections.abc import Sequence

from attnmon_renderer.insight.judging.capture_record import LayerRecord

_ROLES = {
    "encoder_self": "the encoder's self-attention",
    "decoder_self": "the decoder's self-attention",
    "decoder_cross": "the decoder's cross-attention",
}
MOST_NAMED = 8


def role_words(role: str) -> str:
    """Return a role in words."""
    return _ROLES.get(role, role)


def layer_words(layer: LayerRecord) -> str:
    """Return a layer in words: "layer 3 of the decoder's self-attention"."""
    return f"layer {layer.layer} of {role_words(layer.role)}"


def heads_words(heads: Sequence[int], of: int) -> str:
    """Return heads in words: "head 3", "all 8 heads", "heads 1, 2 and 5"."""
    if len(heads) == 1:
        return f"head {heads[0]}"
    if len(heads) == of:
        return f"all {of} heads"
    return f"heads {listed(heads)}"


def listed(numbers: Sequence[int]) -> str:
    """Return numbers in words: "1, 2 and 5"; of many the first."""
    if len(numbers) > MOST_NAMED:
        return f"{', '.join(map(str, numbers[:MOST_NAMED]))} and {len(numbers) - MOST_NAMED} more"
    *before, last = map(str, numbers or ("none",))
    return f"{', '.join(before)} and {last}" if before else last


def figure(value: float) -> str:
    """Return a number with as many digits as one reads: "0.031", "128", "12,480"."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
