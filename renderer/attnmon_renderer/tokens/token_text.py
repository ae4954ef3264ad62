"""Tokens as people read them: what tokenizers make of spaces, line breaks and bytes is undone.

- `Ġ` and `▁` are a space (␣), `Ċ` is a line break (↵).
- Byte-level tokenizers (GPT-2's and its followers) write each byte of UTF-8 as a character of its
  own, so that 你 is ä½ł; SentencePiece writes unknown characters as `<0xE4>` and so on.
- A character that is split among tokens is shown in each of them, with a number: 你① 你②.
"""

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from attnmon_renderer.tokens.clusters import visible

_LONGEST = 24
"""Characters of a token that the training process sends; longer ones are cut there."""
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPECIAL = re.compile(r"<.+>|\[.+\]", re.DOTALL)
_WORD_END = "</w>"
_PARTS = "①②③④"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SPACES = dict.fromkeys(map(ord, " \xa0\u3000"), "␣") | {0x0D: "␍"}


@lru_cache(maxsize=16)
def readable(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels of a sequence's tokens; none is empty or only white."""
    to_bytes = _from_byte_level if _is_byte_level(tokens) else _from_text
    return tuple(map(_visible, _characters([to_bytes(token) for token in tokens])))


def _characters(pieces: list[bytes]) -> list[str]:
    """Return the text of each piece; a character of several pieces goes to all, numbered."""
    labels = [""] * len(pieces)
    owners = [number for number, piece in enumerate(pieces) for _ in piece]
    joined, at = b"".join(pieces), 0
    while at < len(joined):
        character = _first_character(joined[at : at + 4])
        length = len(character.encode()) if character else 1
        shared = dict.fromkeys(owners[at : at + length])
        for part, owner in enumerate(shared):
            text = character or f"0x{joined[at]:02X}"
            labels[owner] += text + (_PARTS[part] if len(shared) > 1 else "")
        at += length
    return labels


def _first_character(data: bytes) -> str:
    for length in range(1, len(data) + 1):
        try:
            return data[:length].decode()
        except UnicodeDecodeError:
            continue
    return ""


def _from_text(token: str) -> bytes:
    if byte := _BYTE.fullmatch(token):
        return bytes.fromhex(byte[1])
    if token.endswith(_WORD_END) and token != _WORD_END:
        token = f"{token.removesuffix(_WORD_END)} "
    return token.replace("▁", " ").encode("utf-8", "replace")


def _from_byte_level(token: str) -> bytes:
    alphabet = _byte_alphabet()
    if _SPECIAL.fullmatch(token) and not all(character in alphabet for character in token):
        return token.encode("utf-8", "replace")
    data = bytes(alphabet[character] for character in token)
    return _whole(data) if len(token) >= _LONGEST else data


def _is_byte_level(tokens: tuple[str, ...]) -> bool:
    """Whether a byte-level tokenizer made these: as bytes they are text, and not as they stand."""
    alphabet = _byte_alphabet()
    if all(token.isascii() for token in tokens):
        return False
    return all(
        all(character in alphabet for character in token)
        for token in tokens
        if not _SPECIAL.fullmatch(token)
    ) and all(map(_is_text, _stretches(tokens)))


def _stretches(tokens: tuple[str, ...]) -> Iterator[bytes]:
    """Yield the bytes between special tokens, and between tokens that were cut."""
    stretch = b""
    for token in tokens:
        if _SPECIAL.fullmatch(token):
            yield stretch
            stretch = b""
            continue
        stretch += _from_byte_level(token)
        if len(token) >= _LONGEST:
            yield stretch
            stretch = b""
    yield stretch


def _is_text(data: bytes) -> bool:
    """Whether bytes are UTF-8 but for a character cut at either end, and hold no control code."""
    try:
        return not _CONTROL.search(_whole(data).decode())
    except UnicodeDecodeError:
        return False


def _whole(data: bytes) -> bytes:
    """Return the bytes without the rests of characters that are cut at the ends."""
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    for cut in range(min(3, len(data)) + 1):
        part = data[start : len(data) - cut]
        try:
            part.decode()
        except UnicodeDecodeError:
            continue
        return part
    return data


@cache
def _byte_alphabet() -> dict[str, int]:
    """Return the byte of each character, as GPT-2's tokenizer has them (`bytes_to_unicode`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {
        chr(256 + number): byte for number, byte in enumerate(others)
    }


def _visible(label: str) -> str:
    """Return the label with its outer spaces made visible, so that no label looks empty."""
    if not label:
        return "∅"
    if label.strip() != label:
        return label.translate(_SPACES)
    return label if visible(label) else f"U+{ord(label[0]):04X}"
