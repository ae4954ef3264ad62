"""The tasks of the held-out trainings, which no rule was chosen on."""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from insightlib.batch import VOCABULARY, Batch, Task

_MARKER = 1
_code: list[Tensor] = []


def code(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Say the next character of a module of Python's own library; changed: read backwards."""
    if not _code:
        content = Path(argparse.__file__).read_bytes()
        _code.append(torch.tensor([max(0, min(95, each - 31)) for each in content]))
    starts = torch.randint(0, len(_code[0]) - length - 1, (size, 1), generator=generator)
    rows = _code[0][starts + torch.arange(length + 1)]
    rows = rows.flip(1) if changed else rows
    return Batch(rows[:, :-1], rows[:, 1:])


def recall(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Say what stood behind each key, of pairs that come again in another order."""
    pairs = length // 4
    keys = torch.rand(size, 14, generator=generator).argsort(1)[:, :pairs] + 2
    values = torch.randint(16, VOCABULARY, (size, pairs), generator=generator)
    order = torch.rand(size, pairs, generator=generator).argsort(1)
    again = torch.stack([keys.gather(1, order), values.gather(1, order)], 2).flatten(1)
    first = torch.stack([keys, values], 2).flatten(1)
    tokens = torch.cat([first, again.flip(1) if changed else again], 1)
    targets = torch.full_like(tokens, -100)
    targets[:, 2 * pairs : -1 : 2] = tokens[:, 2 * pairs + 1 :: 2]
    return Batch(tokens, targets)


def translate(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Say another token for each token of the source, in its order."""
    source = torch.randint(3, VOCABULARY, (size, length), generator=generator)
    lengths = torch.randint(length // 2, length + 1, (size, 1), generator=generator)
    padding = torch.arange(length) >= lengths
    source = source.masked_fill(padding, 0)
    factor = 11 if changed else 7  # both have no divisor in common with the 29 tokens
    shown = (source - 3) * factor % (VOCABULARY - 3) + 3
    targets = shown.masked_fill(padding, -100)
    start = torch.ones(size, 1, dtype=torch.long)
    decoder = torch.cat([start, shown.masked_fill(padding, 0)[:, :-1]], 1)
    return Batch(source, targets, decoder, padding)


def hold(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Say at each position the token behind the latest marker: queries rightly share a key."""
    tokens = torch.randint(10, VOCABULARY, (size, length), generator=generator)
    targets = torch.full_like(tokens, -100)
    for begin, end in ((0, length // 2), (length // 2, length)):
        places = torch.randint(begin, end - 2, (size,), generator=generator)
        labels = torch.randint(2, 10, (size,), generator=generator)
        rows = torch.arange(size)
        tokens[rows, places], tokens[rows, places + 1] = _MARKER, labels
        behind = torch.arange(length) > places[:, None]
        said = (11 - labels if changed else labels)[:, None].expand_as(tokens)
        targets = torch.where(behind, said, targets)
    return Batch(tokens, targets)


def title(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Say at each position the token that stands at the fourth: all queries share that key."""
    tokens = torch.randint(2, VOCABULARY, (size, length), generator=generator)
    place = 6 if changed else 3
    targets = tokens[:, place : place + 1].repeat(1, length)
    targets[:, :place] = -100
    return Batch(tokens, targets)


def bars(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Name which of four rows, or of four columns, of patches is brighter than the others."""
    images = 0.5 * torch.randn(size, 1, 16, 16, generator=generator)
    labels = torch.randint(0, 8, (size,), generator=generator)
    for index, label in enumerate(labels.tolist()):
        begin = 4 * (label % 4)
        part = images[index, 0, begin : begin + 4]
        if label >= 4:
            part = images[index, 0, :, begin : begin + 4]
        part += -0.5 if changed else 0.5
    return Batch(images, labels)


def majority(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Name the token that is there most often, in sequences that are partly padding."""
    labels = torch.randint(0, 8, (size,), generator=generator)
    tokens = torch.randint(2, 10, (size, length), generator=generator)
    often = torch.rand(size, length, generator=generator) < 0.3
    shown = 7 - labels if changed else labels
    tokens = torch.where(often, shown[:, None] + 2, tokens)
    lengths = torch.randint(length // 3, length + 1, (size, 1), generator=generator)
    padding = torch.arange(length) >= lengths
    return Batch(tokens.masked_fill(padding, 0), labels, padding=padding)


LATER_TASKS = {
    "code": Task("decoder", 48, 96, code),
    "recall": Task("decoder", 24, VOCABULARY, recall),
    "hold": Task("decoder", 24, VOCABULARY, hold),
    "title": Task("decoder", 20, VOCABULARY, title),
    "translate": Task("both", 14, VOCABULARY, translate),
    "bars": Task("image", 17, 8, bars),
    "majority": Task("encoder", 30, 8, majority),
}
