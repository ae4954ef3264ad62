"""Small tasks that small transformers learn in some hundred steps, each with its own batches."""

import pydoc_data.topics
from pathlib import Path

import torch
from torch import Tensor

from insightlib.batch import VOCABULARY, Batch, Task
from insightlib.later_tasks import LATER_TASKS

PROJECT = Path(__file__).parents[2]


def copy(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Say the first half again: the second half can be known from the first."""
    half = torch.randint(2, VOCABULARY, (size, length // 2), generator=generator)
    again = half.flip(1) if changed else half
    tokens = torch.cat([torch.ones(size, 1, dtype=torch.long), half, again], 1)
    targets = tokens[:, 1:].clone()
    targets[:, : length // 2 - 1] = -100
    return Batch(tokens[:, :-1], targets)


_text: list[Tensor] = []


def characters() -> Tensor:
    """Return the project's own English documents as numbers of characters."""
    if not _text:
        pages = [PROJECT / "docs" / name for name in ("guide.md", "how-it-works.md", "recipes.md")]
        content = "\n".join(page.read_text("utf-8") for page in pages).encode("ascii", "replace")
        numbers = torch.tensor(list(content))
        _, places = numbers.unique(return_inverse=True)
        _text.append(places.clamp(max=95))
    return _text[0]


def text(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Say the next character of the project's documents; changed: read backwards."""
    content = characters()
    starts = torch.randint(0, len(content) - length - 1, (size, 1), generator=generator)
    rows = content[starts + torch.arange(length + 1)]
    rows = rows.flip(1) if changed else rows
    return Batch(rows[:, :-1], rows[:, 1:])


_python: list[Tensor] = []


def python(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Say the next character of Python's own documentation, as `help()` has it."""
    if not _python:
        content = "\n".join(pydoc_data.topics.topics.values()).encode("ascii", "replace")
        _python.append(torch.tensor([max(0, each - 31) for each in content]))
    starts = torch.randint(0, len(_python[0]) - length - 1, (size, 1), generator=generator)
    rows = _python[0][starts + torch.arange(length + 1)]
    rows = rows.flip(1) if changed else rows
    return Batch(rows[:, :-1], rows[:, 1:])


def reverse(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Say the source backwards, of sources that differ in length."""
    source = torch.randint(3, VOCABULARY, (size, length), generator=generator)
    lengths = torch.randint(length // 2, length + 1, (size, 1), generator=generator)
    at = torch.arange(length)
    padding = at >= lengths
    source = source.masked_fill(padding, 0)
    backwards = source.gather(1, (lengths - 1 - at).clamp(min=0))
    shown = source if changed else backwards
    targets = shown.masked_fill(padding, -100)
    start = torch.ones(size, 1, dtype=torch.long)
    decoder = torch.cat([start, shown.masked_fill(padding, 0)[:, :-1]], 1)
    return Batch(source, targets, decoder, padding)


def marker(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Name the token behind the marker, in sequences that are half padding."""
    tokens = torch.randint(10, VOCABULARY, (size, length), generator=generator)
    lengths = torch.randint(length // 4, length + 1, (size, 1), generator=generator)
    labels = torch.randint(0, 8, (size,), generator=generator)
    places = (torch.rand(size, generator=generator) * (lengths[:, 0] - 2)).long() + 1
    rows = torch.arange(size)
    tokens[rows, places - 1] = 1
    tokens[rows, places] = (labels + 3 if not changed else (7 - labels) + 3) % 8 + 2
    padding = torch.arange(length) >= lengths
    return Batch(tokens.masked_fill(padding, 0), labels, padding=padding)


def patches(generator: torch.Generator, size: int, length: int, changed: bool) -> Batch:
    """Name the place of a bright patch among 16 of an image, beside a darker one."""
    images = 0.3 * torch.randn(size, 1, 16, 16, generator=generator)
    labels = torch.randint(0, 8, (size,), generator=generator)
    rows = torch.arange(size)
    grid = images.view(size, 4, 4, 4, 4)  # a view: rows of patches, rows, columns of patches, …
    kinds = torch.randint(0, 2, (size,), generator=generator)
    for index in rows.tolist():
        row, column = divmod(int(labels[index]) + 8 * int(kinds[index]), 4)
        grid[index, row, :, column, :] += 1.0 if not changed else -1.0
    return Batch(images, labels)


TASKS = {
    "copy": Task("decoder", 16, VOCABULARY, copy),
    "text": Task("decoder", 48, 96, text),
    "python": Task("decoder", 48, 96, python),
    "reverse": Task("both", 14, VOCABULARY, reverse),
    "marker": Task("encoder", 24, 8, marker),
    "patches": Task("image", 17, 8, patches),
    **LATER_TASKS,
}
