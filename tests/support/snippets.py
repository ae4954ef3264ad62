"""Finds the code in the documents, and what a training script has around it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from support.models import VOCABULARY, LanguageModel, Translator, batch
from support.project import PROJECT

DOCS = PROJECT / "docs"
STEPS = 3


class Snippet(NamedTuple):
    """A block of Python in a page, and the heading above it."""

    page: str
    heading: str
    code: str


def snippets(page: str) -> Iterator[Snippet]:
    """Returns the Python blocks of a page of the documents, in their order."""
    text = (DOCS / page).read_text()
    for heading, section in re.findall(r"^#+ (.+)\n((?:(?!^#+ ).*\n?)*)", text, re.MULTILINE):
        for code in re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
            yield Snippet(page, heading, code)


class PatchModel(nn.Module):
    """A vision transformer of 4 patches and a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.first = nn.Parameter(torch.zeros(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        first = self.first.expand(len(images), -1, -1)
        hidden: Tensor = self.encoder(torch.cat([first, patches], dim=1))
        return hidden[:, 0]


def translation() -> dict[str, Any]:
    return {"model": Translator(), "batches": STEPS * [(batch(3, 7), batch(3, 6))]}


def many_heads() -> dict[str, Any]:
    model = LanguageModel(layers=17, heads=32, width=64)
    return {"model": model, "batches": STEPS * [(batch(3, 7), batch(3, 7))]}


def language() -> dict[str, Any]:
    return {"model": LanguageModel(), "batches": STEPS * [batch(3, 40)]}


def vision() -> dict[str, Any]:
    labels = torch.tensor([0, 1])
    return {"model": PatchModel(), "batches": STEPS * [(torch.ones(2, 3, 8, 8), labels)]}


SURROUNDINGS: dict[str, Callable[[], dict[str, Any]]] = {
    "Eight GPUs and seven billion parameters": many_heads,
    "Sequences of 32,768 positions": language,
    "A vision model": vision,
}
"""What the script around a snippet has, by heading; a translation where nothing is said."""


def run(snippet: Snippet, folder: Path) -> dict[str, Any]:
    """Run a snippet as written, in a small training, and return its names."""
    names = SURROUNDINGS.get(snippet.heading, translation)()
    names |= {
        "torch": torch,
        "criterion": lambda logits, wanted: nn.functional.cross_entropy(
            logits.flatten(0, -2), wanted.flatten()
        ),
        "optimizer": torch.optim.SGD(names["model"].parameters(), lr=0.1),
        "vocabulary": [f"w{index}" for index in range(VOCABULARY)],
        "weights": torch.full((3, 2, 6, 7), 1 / 7),
    }
    exec(compile(snippet.code, f"{snippet.page}: {snippet.heading}", "exec"), names)
    return names
