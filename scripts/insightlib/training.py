"""Trains one configuration under a monitor, and keeps its history and the loss of every step."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from attnmon import LightweightAttentionMonitor
from insightlib.configuration import EVERY, Configuration
from insightlib.models import Transformer, loss_of
from insightlib.tasks import TASKS

LARGEST_NORM = 1e9


def train(configuration: Configuration, seed: int, folder: Path) -> bool:
    """Train, and write `series.json` beside the monitor's files.

    False, and nothing done, where it was trained before, or another process is about to.
    """
    ticket = folder.with_name(f"{folder.name}.ticket")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(ticket, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    run = _Training(configuration, seed, folder)
    resumes = configuration.resumes_at
    run.go_on(resumes or configuration.steps)
    if resumes:
        run.go_on(configuration.steps)
    text = json.dumps({"losses": run.losses, "norms": run.norms, "accounts": run.accounts})
    (folder / "series.json").write_text(text)
    return True


class _Training:
    def __init__(self, configuration: Configuration, seed: int, folder: Path) -> None:
        self._of, self._folder, self._step = configuration, folder, 0
        self._generator = torch.Generator().manual_seed(1000 + seed)
        self._model = Transformer(configuration.task, configuration.shape)
        self._optimizer = torch.optim.AdamW(self._groups(), lr=configuration.lr, weight_decay=0.01)
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.accounts: list[dict[str, Any]] = []

    def _groups(self) -> list[dict[str, Any]]:
        of_qk = [p for name, p in self._model.named_parameters() if ".q." in name or ".k." in name]
        if self._of.frozen_qk:
            for parameter in of_qk:
                parameter.requires_grad_(False)
        chosen = set(map(id, of_qk))
        others = [p for p in self._model.parameters() if id(p) not in chosen]
        return [{"params": others, "is_qk": False}, {"params": of_qk, "is_qk": True}]

    def go_on(self, until: int) -> None:
        """Train to this step, under a monitor of its own."""
        with LightweightAttentionMonitor(
            save_dir=str(self._folder),
            save_frequency=EVERY,
            use_tensorboard=False,
            max_overhead=None,
            on_full="wait",
        ) as monitor:
            while self._step < until:
                self._one(monitor)
                self._step += 1
            accounts = monitor.close()
        self.accounts.append({name: accounts[name] for name in ("rendered", "dropped", "failed")})

    def _one(self, monitor: LightweightAttentionMonitor) -> None:
        of, model = self._of, self._model
        changed = bool(of.changes_at) and self._step >= of.changes_at
        length = of.length or TASKS[of.task].length
        batch = TASKS[of.task].batch(self._generator, of.batch, length, changed)
        for group in self._optimizer.param_groups:
            group["lr"] = self._lr(is_qk=group["is_qk"])
        self._optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), of.clip or LARGEST_NORM))
        self._optimizer.step()
        self.losses.append(loss.item())
        self.norms.append(norm)
        monitor.log_attention(
            model, batch.source, batch.decoder, step=self._step, loss=loss.item(),
            lr=self._lr(is_qk=False), grad_norm=norm,
            padding=None if batch.padding is None else (batch.padding, self._of_decoder(batch)),
        )  # fmt: skip

    @staticmethod
    def _of_decoder(batch: Any) -> torch.Tensor | None:
        return None if batch.decoder is None else batch.targets == -100

    def _lr(self, *, is_qk: bool) -> float:
        of, step = self._of, self._step
        lr = of.lr * min(1.0, (step + 1) / of.warmup) if of.warmup else of.lr
        if of.decays:
            lr *= max(0.1, 1 - step / of.steps)
        late = max(0, step - of.fault_at)
        lr *= of.ramp**late * (of.jump if late else 1.0)
        return lr * (of.qk_lr * of.qk_ramp**late if is_qk else 1.0)
