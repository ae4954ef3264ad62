"""Damages messages at random, as broken software, broken memory and attackers would."""

import copy
import math
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

SPECIAL: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, -(2**63), 0.0, -0.0, math.nan,
    math.inf, 5e-324, 1e308, "", "\x00", "x" * 300, "float32", "object", "decoder", b"", b"\xff",
    [], [[]], [0], {}, {"a": 1}, msgpack.ExtType(5, b"x"),
)  # fmt: skip
MOST_DAMAGE = 6

Damage = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def flipped_bits(chance: random.Random, packed: bytes, _: Sequence[bytes]) -> bytes:
    damaged = bytearray(packed)
    for _ in range(chance.randint(1, MOST_DAMAGE)):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def other_bytes(chance: random.Random, packed: bytes, _: Sequence[bytes]) -> bytes:
    damaged = bytearray(packed)
    for _ in range(chance.randint(1, MOST_DAMAGE)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


def truncated(chance: random.Random, packed: bytes, _: Sequence[bytes]) -> bytes:
    return packed[: chance.randrange(1, len(packed))]


def spliced(chance: random.Random, packed: bytes, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others)
    return packed[: chance.randint(1, len(packed))] + other[chance.randrange(len(other)) :]


def with_a_part_again(chance: random.Random, packed: bytes, _: Sequence[bytes]) -> bytes:
    first, end = sorted(chance.choices(range(len(packed) + 1), k=2))
    return packed[:end] + packed[first:end] * chance.randint(1, 3) + packed[end:]


def without_a_part(chance: random.Random, packed: bytes, _: Sequence[bytes]) -> bytes:
    first, end = sorted(chance.choices(range(1, len(packed) + 1), k=2))
    return packed[:first] + packed[end:]


def with_a_huge_length(chance: random.Random, packed: bytes, _: Sequence[bytes]) -> bytes:
    position = chance.randrange(len(packed))
    header = chance.choice(b"\xc6\xc9\xdb\xdd\xdf")
    length = chance.choice((2**16, 2**31, 2**32 - 1))
    return packed[:position] + struct.pack(">BI", header, length) + packed[position:]


def with_another_value(chance: random.Random, packed: bytes, others: Sequence[bytes]) -> bytes:
    """Puts one value in another's place. Most damaged messages that are accepted come from here."""
    message = msgpack.unpackb(packed)
    for _ in range(chance.randint(1, 2)):
        holder, position = _somewhere_in(chance, message)
        if chance.random() < 0.5:
            holder[position] = copy.deepcopy(chance.choice(SPECIAL))
        else:
            other, there = _somewhere_in(chance, msgpack.unpackb(chance.choice(others)))
            holder[position] = other[there]
    return msgpack.packb(message, unicode_errors="surrogatepass")  # type: ignore[no-any-return]


def _somewhere_in(chance: random.Random, message: list[Any]) -> tuple[list[Any], int]:
    holder, position = message, chance.randrange(len(message))
    while isinstance(holder[position], list) and holder[position] and chance.random() < 0.8:
        holder = holder[position]
        position = chance.randrange(len(holder))
    return holder, position


DAMAGES: tuple[Damage, ...] = (
    flipped_bits, other_bytes, truncated, spliced, with_a_part_again, without_a_part,
    with_a_huge_length, with_another_value, with_another_value,
)  # fmt: skip


def damaged(chance: random.Random, messages: Sequence[bytes]) -> bytes:
    """Returns one of these messages, damaged in one of the ways above."""
    packed: bytes = chance.choice(messages)
    return chance.choice(DAMAGES)(chance, packed, messages)
