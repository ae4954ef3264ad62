"""A training by Lightning's Trainer, of either of its two import trees."""

import pydoc_data.topics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from support.models import LanguageModel

TEXT = "\n".join(pydoc_data.topics.topics.values()).encode()
HEADS, LENGTH, VALIDATED_LENGTH = 4, 24, 17


def texts(samples: int, length: int) -> DataLoader[Tensor]:
    """Returns pieces of Python's own manual, one byte longer than `length`, in batches of four."""
    cut = [TEXT[1000 + at * length :][: length + 1] for at in range(samples)]
    return DataLoader([torch.tensor(list(text)) for text in cut], batch_size=4)


class Decoder(LanguageModel):
    """A language model of bytes, with dropout."""

    def __init__(self) -> None:
        super().__init__(heads=HEADS)
        self.embedding, self.head = nn.Embedding(256, 32), nn.Linear(32, 256)
        self.dropout = nn.Dropout(0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.dropout(self.embedding(tokens))
        for block in self.blocks:
            hidden = hidden + self.dropout(block(hidden))
        logits: Tensor = self.head(hidden)
        return logits


def module_of(tree: Any, automatic: bool = True) -> Any:
    """Returns a module whose training step does not call its own forward, as many do."""

    class Learner(tree.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.decoder = Decoder()
            self.automatic_optimization = automatic
            self.losses: list[float] = []

        def loss(self, batch: Tensor) -> Tensor:
            logits = self.decoder(batch[:, :-1])
            return nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

        def forward(self, batch: Tensor) -> Tensor:
            return self.decoder(batch[:, :-1])  # type: ignore[no-any-return]

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            loss = self.loss(batch)
            self.losses.append(loss.item())
            if not torch.compiler.is_compiling():  # Lightning's log cannot be traced
                self.log("loss", loss)
            if not automatic:
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            return loss

        def validation_step(self, batch: Tensor, batch_idx: int) -> None:
            self.log("validation", self.loss(batch))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), 1e-3)
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]

    return Learner()


def fit(tree: Any, folder: Path, *callbacks: Any, module: Any = None, **options: Any) -> Any:
    """Trains for three epochs of ten batches. Returns the module."""
    module = module_of(tree) if module is None else module
    path = options.pop("ckpt_path", None)
    chosen = {
        "max_epochs": 3, "accelerator": "cpu", "log_every_n_steps": 1, "logger": False,
        "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    trainer = tree.Trainer(
        default_root_dir=folder, callbacks=list(callbacks), **{**chosen, **options}
    )
    torch.manual_seed(1)
    trainer.fit(module, texts(40, LENGTH), texts(8, VALIDATED_LENGTH), ckpt_path=path)
    return module
