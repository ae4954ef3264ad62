"""The designs that the benchmarks compare: no monitor, attnmon, and the two that people write.

The thread pool and the drawing in the loop look at the same layers at the same steps. They draw the
same figures with matplotlib, each a new figure at the default resolution.
"""

import json
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from benchlib.plain_drawing import Configuration, Weights, figures, model_weights


class NoMonitor:
    """No monitor; the interface of the other designs."""

    def log(self, model: nn.Module, enc: Tensor, dec: Tensor, step: int, loss: float) -> None:
        """Called after each step."""

    def resume(self) -> None:
        """Called before a block of steps: from now on it may capture from the shared model."""

    def pause(self) -> None:
        """Called after a block of steps: removes everything from the model."""

    def waiting(self) -> int:
        """Returns the number of captures that are not yet drawn."""
        return 0

    def hook_seconds(self) -> float:
        """Returns the seconds that it says it took from training; only attnmon says this."""
        return 0.0

    def captures(self, steps: int) -> int:
        """Return how many captures were made in so many steps from step 0 on."""
        return 0

    def close(self) -> None:
        pass


class Attnmon(NoMonitor):
    """attnmon; usually without its overhead budget, which would limit what is measured."""

    def __init__(
        self, configuration: Configuration, folder: Path, max_overhead: float | None = None
    ) -> None:
        self._folder = folder
        self._monitor: TrainingAttentionMonitor | LightweightAttentionMonitor
        if configuration.kinds:
            self._monitor = TrainingAttentionMonitor(
                folder,
                configuration.every,
                visualization_types=configuration.kinds,
                layers_to_visualize="all" if configuration.everything else (0, -1),
                heads_to_visualize="all" if configuration.everything else "average",
                max_overhead=max_overhead,
            )
        else:
            self._monitor = LightweightAttentionMonitor(
                folder, configuration.every, max_overhead=max_overhead
            )
        self.log = self._monitor.log_attention  # type: ignore[method-assign]

        self.resume = self._monitor.enable  # type: ignore[method-assign]
        self.pause = self._monitor.disable  # type: ignore[method-assign]

    def accounts(self) -> dict[str, Any]:
        """Returns the accounts so far, as `close` returns them."""
        return self._monitor._session.accounts()

    def waiting(self) -> int:
        before, started = self.accounts()["pending"], time.perf_counter()
        self._monitor._session.poll()
        left: int = self.accounts()["pending"]
        if left < before:  # the next capture would have had to do it
            self._monitor._counters.hook_seconds += time.perf_counter() - started
        return left

    def hook_seconds(self) -> float:
        return float(self.accounts()["hook_seconds"])

    def captures(self, steps: int) -> int:
        return int(self.accounts()["captured"])

    def renderer_seconds(self) -> float:
        """Returns the processor time of the renderer's processes so far."""
        try:
            pids = json.loads((self._folder / "summary.json").read_text())["pids"]
            return sum(cpu_seconds(pid) for pid in pids)
        except OSError:
            return 0.0  # it has not written yet, or this system has no /proc

    def close(self) -> None:
        self._monitor.close()


class InLoop(NoMonitor):
    """Drawing in the training loop: tensorboardX's `add_figure`, and `add_scalar` for numbers."""

    def __init__(self, configuration: Configuration, folder: Path) -> None:
        self._configuration = configuration
        self._writer = SummaryWriter(str(folder))

    def captures(self, steps: int) -> int:
        return -(-steps // self._configuration.every)

    def log(self, model: nn.Module, enc: Tensor, dec: Tensor, step: int, loss: float) -> None:
        if step % self._configuration.every:
            return
        weights = model_weights(model, enc, dec)
        for name, values in weights.items():
            self._writer.add_scalar(f"{name}/mean", values.mean(), step)
            self._writer.add_scalar(f"{name}/std", values.std(), step)
        for name, figure in figures(self._configuration, weights):
            self._writer.add_figure(name, figure, step)

    def close(self) -> None:
        self._writer.close()


class ThreadPool(NoMonitor):
    """Drawing and writing in two threads of the training process."""

    def __init__(self, configuration: Configuration, folder: Path) -> None:
        self._configuration = configuration
        self._folder = folder
        self._pool = ThreadPoolExecutor(2)
        self._pending: list[Future[None]] = []
        self._history = threading.Lock()

    def log(self, model: nn.Module, enc: Tensor, dec: Tensor, step: int, loss: float) -> None:
        if step % self._configuration.every == 0:
            weights = model_weights(model, enc, dec)
            self._pending.append(self._pool.submit(self._draw, weights, step))

    def captures(self, steps: int) -> int:
        return -(-steps // self._configuration.every)

    def waiting(self) -> int:
        self._pending = [future for future in self._pending if not future.done()]
        return len(self._pending)

    def close(self) -> None:
        self._pool.shutdown()

    def _draw(self, weights: Weights, step: int) -> None:
        folder = self._folder / f"step_{step}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures(self._configuration, weights):
            figure.savefig(folder / f"{name}.png")
        numbers = {
            name: {key: float(getattr(np, key)(values)) for key in ("mean", "std", "min", "max")}
            for name, values in weights.items()
        }
        with self._history, (self._folder / "history.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")


def cpu_seconds(pid: int) -> float:
    """Returns the processor time of a process and of its ended children (Linux)."""
    after_the_name = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(map(int, after_the_name[11:15])) / os.sysconf("SC_CLK_TCK")
