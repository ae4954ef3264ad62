"""Reads the labels of the sample's positions, for the axes of the pictures."""

from collections.abc import Callable, Sequence

from attnmon.link.records.attention_record import Attention

Tokens = (
    Sequence[str]
    | tuple[Sequence[str], Sequence[str]]
    | Callable[[], "Sequence[str] | tuple[Sequence[str], Sequence[str]]"]
    | None
)
"""The tokens of one stack, a pair (encoder, decoder), or a function that returns either."""

Labels = tuple[tuple[str, ...], tuple[str, ...]]
"""The labels (encoder, decoder); empty where there are none."""

LONGEST = 4096
"""The most labels of an axis, of which pictures show some; of a longer one none are sent."""
LONGEST_TOKEN = 24
"""Characters of a label that are sent."""
MOST_BYTES = 128 * 1024
"""Bytes of one stack's labels at most: more take too long to send, and none are sent then."""


def read_tokens(given: Tokens, attentions: Sequence[Attention]) -> Labels:
    """Return the labels (encoder, decoder); a single list stands for each stack that there is.

    Raises what the user's function raises, TypeError for anything that is not a list of strings,
    and ValueError for labels that fit no axis.
    """
    tokens = _read(given() if callable(given) else given, attentions)
    require_fitting(tokens, attentions)
    return tokens


def _read(
    given: object, attentions: Sequence[Attention]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if given is None:
        return (), ()
    if isinstance(given, tuple) and len(given) == 2 and not isinstance(given[0], str):
        return _labels(given[0]), _labels(given[1])
    only = _labels(given)
    stacks = {attention.stack for attention in attentions}
    return (only if "encoder" in stacks else ()), (only if "decoder" in stacks else ())


def require_fitting(tokens: Labels, attentions: Sequence[Attention]) -> None:
    """Raise ValueError for labels that fit no axis of any layer."""
    if not any(tokens):
        return
    lengths = {length for attention in attentions for length in attention.shape[1:]}
    for labels in tokens:
        if labels and len(labels) not in lengths:
            there = " or ".join(str(length) for length in sorted(lengths))
            raise ValueError(f"tokens: {len(labels)} were given for axes of {there} positions")


def _labels(tokens: object) -> tuple[str, ...]:
    if not isinstance(tokens, Sequence):
        raise TypeError(f"tokens: give a list of strings, not a {type(tokens).__name__}")
    if len(tokens) > LONGEST:
        return ()
    labels = tuple(_sendable(token) for token in tokens)
    return labels if sum(len(label.encode()) for label in labels) <= MOST_BYTES else ()


def _sendable(token: object) -> str:
    """Return the start of a token, with lone surrogates spelled out: no message can hold them.

    Some tokenizers make them of bytes.
    """
    if not isinstance(token, str):
        raise TypeError(f"tokens: give strings, not {token!r:.80}")
    return token[:LONGEST_TOKEN].encode("utf-8", "backslashreplace").decode()
