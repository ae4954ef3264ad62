"""The training that chaos.py disturbs: small, on one thread, and resumed after a kill.

    cd scripts && python -m chaoslib.training FOLDER --steps 200 [--save-dir DIR]

It leaves in FOLDER one line a step in `progress.txt` (step, loss, captures so far), a checkpoint,
and at the end `result.json`. Without `--save-dir` there is no monitor: the run to compare with.
"""

import argparse
import hashlib
import json
import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from benchlib.workloads import VOCABULARY, Translator, Workload
from torch import Tensor

from attnmon import TrainingAttentionMonitor

SIZE = Workload("chaos", 0.003, width=32, heads=2, layers=1, length=12)
BATCH = 4
STEPS_BETWEEN_CHECKPOINTS = 10
EXIT_CODE = 7
"""The training's own exit code, which the monitor must not change."""


class Run:
    """Model and optimizer, with checkpoints."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self._checkpoint = folder / "checkpoint.pt"
        self.model = Translator(SIZE)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.first_step = 0

    def resume(self) -> None:
        """Load the last checkpoint, if there is one."""
        if self._checkpoint.exists():
            state = torch.load(self._checkpoint)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"])
            self.first_step = state["step"]

    def save(self, step: int) -> None:
        """Write a checkpoint from which training goes on with `step`."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "step": step,
        }
        temporary = self._checkpoint.with_suffix(".new")
        torch.save(state, temporary)
        os.replace(temporary, self._checkpoint)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Returns the inputs of a step; always the same, also after a resume."""
        generator = torch.Generator().manual_seed(step)
        shape = BATCH, SIZE.length
        enc, dec = (torch.randint(VOCABULARY, shape, generator=generator) for _ in range(2))
        return enc, dec

    def step(self, enc: Tensor, dec: Tensor) -> float:
        logits = self.model(enc, dec)
        loss = F.cross_entropy(logits.flatten(0, 1), dec.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def digest(self) -> str:
        """Returns a hash of all parameters and of torch's random state."""
        state = [*self.model.state_dict().values(), torch.get_rng_state()]
        return hashlib.sha256(b"".join(value.numpy().tobytes() for value in state)).hexdigest()


def monitor_of(save_dir: Path | None, every: int) -> Any:
    if save_dir is None:
        return nullcontext()
    return TrainingAttentionMonitor(
        save_dir,
        every,
        save_on_epochs=None,
        visualization_types=["heatmap", "multi_head", "statistics"],
        save_raw_weights=True,
        max_overhead=None,
    )


def train(options: argparse.Namespace) -> dict[str, Any]:
    run, accounts = Run(options.folder), {"captured": 0}
    run.resume()
    with (
        open(options.folder / "progress.txt", "a", buffering=1) as progress,
        monitor_of(options.save_dir, options.every) as monitor,
    ):
        for step in range(run.first_step, options.steps):
            enc, dec = run.batch(step)
            loss = run.step(enc, dec)
            if monitor is not None:
                monitor.log_attention(run.model, enc, dec, step, loss)
                accounts = monitor._session.accounts()
            progress.write(f"{step} {loss.hex()} {accounts['captured']}\n")
            if step % STEPS_BETWEEN_CHECKPOINTS == 0:
                run.save(step + 1)
            time.sleep(options.pause)
        if monitor is not None:
            accounts = monitor.close()
    return {"accounts": accounts, "digest": run.digest()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=4, help="capture every so many steps")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds after each step")
    parser.add_argument("--save-dir", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = train(options)
    (options.folder / "result.json").write_text(json.dumps(result))
    return EXIT_CODE


if __name__ == "__main__":
    raise SystemExit(main())
