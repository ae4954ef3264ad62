"""What stands at each position of the sample, for the axes of the pictures."""

from collections.abc import Callable, Sequence

from attnmon.link.messages import Attention

Tokens = (
    Sequence[str]
    | tuple[Sequence[str], Sequence[str]]
    | Callable[[], "Sequence[str] | tuple[Sequence[str], Sequence[str]]"]
    | None
)
"""One stack's tokens, the encoder's and the decoder's, or a function that gives either."""

Labels = tuple[tuple[str, ...], tuple[str, ...]]
"""The encoder's and the decoder's; empty where there are none."""

LONGEST = 512
"""More labels than this cannot be read in any picture, and are not sent."""
LONGEST_TOKEN = 24
MOST_BYTES = 16 * 1024
"""Of one stack's labels; what is longer cannot be read either, and no message has room for it."""


def read_tokens(given: Tokens, attentions: Sequence[Attention]) -> Labels:
    """(the encoder's, the decoder's). One list is of the only stack there is, or of both.

    Raises what the function raises, TypeError for anything that is not a list of strings, and
    ValueError for labels that fit no axis.
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
    """Lone surrogates, which some tokenizers make of bytes, are no text: they are spelled out."""
    if not isinstance(token, str):
        raise TypeError(f"tokens: give strings, not {token!r:.80}")
    return token[:LONGEST_TOKEN].encode("utf-8", "backslashreplace").decode()
