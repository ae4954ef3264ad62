"""A training by Hugging Face's Trainer."""

import pydoc_data.topics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

TEXT = "\n".join(pydoc_data.topics.topics.values()).encode()
HEADS, LENGTH, EVALUATED_LENGTH = 4, 24, 17


class Text(Dataset[dict[str, Tensor]]):
    """Pieces of Python's own manual, byte by byte, for language modelling."""

    def __init__(self, samples: int, length: int) -> None:
        self.samples, self.length = samples, length

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        start = 1000 + index * self.length
        tokens = torch.tensor(list(TEXT[start : start + self.length]))
        return {"input_ids": tokens, "labels": tokens}


def trainer(folder: Path, *callbacks: TrainerCallback, **arguments: Any) -> Trainer:
    """Returns a Trainer of a GPT-2 of two layers with dropout, with the same weights each time."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=256, n_positions=LENGTH, n_embd=32, n_layer=2, n_head=HEADS,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    chosen = {
        "max_steps": 24, "per_device_train_batch_size": 4, "logging_steps": 1, "seed": 0,
        "save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True,
        "dataloader_pin_memory": False, "learning_rate": 3e-3,
    }  # fmt: skip
    return Trainer(
        GPT2LMHeadModel(config),
        TrainingArguments(str(folder), **{**chosen, **arguments}),
        train_dataset=Text(40, LENGTH),
        eval_dataset=Text(8, EVALUATED_LENGTH),
        callbacks=list(callbacks),
    )


def logged(done: Trainer, what: str) -> dict[int, Any]:
    """Returns a value of the Trainer's own log by step."""
    return {entry["step"]: entry[what] for entry in done.state.log_history if what in entry}
