"""The labels that are sent: those of long sequences too, of which pictures show some."""

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.serialize.token_labels import LONGEST, LONGEST_TOKEN, MOST_BYTES, read_tokens


def self_attention(length: int) -> Attention:
    weights = ArrayBlock(0, "float32", (1, length, length))
    return Attention("a", "decoder", 0, "self_attention", "softmax", (0,), weights)


def sent(tokens: list[str]) -> tuple[str, ...]:
    encoder, decoder = read_tokens(tokens, [self_attention(len(tokens))])
    assert encoder == ()
    return decoder


def test_thousands_of_labels_are_sent() -> None:
    tokens = ["Ġæ³¨æĦıåĬĽ"] * LONGEST
    assert sent(tokens) == tuple(tokens)


def test_long_labels_are_cut_and_too_many_are_left_out() -> None:
    assert sent(["x" * 99]) == ("x" * LONGEST_TOKEN,)
    assert sent(["x"] * (LONGEST + 1)) == ()
    assert sent(["注" * LONGEST_TOKEN] * (MOST_BYTES // (3 * LONGEST_TOKEN) + 1)) == ()
