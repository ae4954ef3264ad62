"""The trainings that the benchmarks watch: an encoder-decoder in two sizes, on random tokens.

The batch size is chosen so that a step takes about `step_seconds` on this machine, with the number
of threads that is set.
"""

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCABULARY = 1000


@dataclass(frozen=True)
class Workload:
    """The size of a training."""

    name: str
    step_seconds: float
    width: int
    heads: int
    layers: int
    """Layers of the encoder, and as many of the decoder."""
    length: int
    """Tokens of both sequences."""


SMALL = Workload("small", 0.025, width=64, heads=4, layers=2, length=48)
LARGE = Workload("large", 0.330, width=256, heads=8, layers=4, length=128)
TINY = Workload("tiny", 0.001, width=16, heads=2, layers=1, length=8)
"""Only to test that a benchmark runs; its figures mean nothing."""
WORKLOADS = {workload.name: workload for workload in (TINY, SMALL, LARGE)}


class Translator(nn.Module):
    """`nn.Transformer` as it is, with tokens embedded."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        width, layers = workload.width, workload.layers
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.transformer = nn.Transformer(
            width, workload.heads, layers, layers, 4 * width, dropout=0.1, batch_first=True
        )
        self.head = nn.Linear(width, VOCABULARY)
        future = nn.Transformer.generate_square_subsequent_mask(workload.length)
        self.register_buffer("future", future)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        embedded = self.embedding(source), self.embedding(target)
        logits: Tensor = self.head(self.transformer(*embedded, tgt_mask=self.future))
        return logits


class Training:
    """A model in training; `step` makes one step, and leaves its inputs in `enc` and `dec`."""

    def __init__(self, workload: Workload, batch: int | None = None) -> None:
        """`batch`: the number of samples; None chooses it."""
        torch.manual_seed(0)
        self.workload = workload
        self.model = Translator(workload)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        if batch is None:
            self._fit_batch()
        else:
            self._make_batch(batch)

    @property
    def batch(self) -> int:
        """Return the number of samples."""
        return len(self.enc)

    def step(self) -> float:
        """Make one step; returns the loss, as scripts need it for their log."""
        logits = self.model(self.enc, self.dec)
        loss = F.cross_entropy(logits.flatten(0, 1), self.dec.flatten())
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def _fit_batch(self) -> None:
        self._make_batch(2)
        few = self._seconds()
        self._make_batch(8)
        many = self._seconds()
        each = max((many - few) / 6, 1e-6)
        self._make_batch(max(1, round((self.workload.step_seconds - few) / each) + 2))
        self._seconds()

    def _make_batch(self, size: int) -> None:
        shape = size, self.workload.length
        self.enc, self.dec = (torch.randint(VOCABULARY, shape) for _ in range(2))

    def _seconds(self) -> float:
        times = []
        for _ in range(4):
            start = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - start)
        return min(times[1:])
