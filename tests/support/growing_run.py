"""A run's directory that grows as a real one does, without a training or a renderer."""

import json
import os
from pathlib import Path

SUMMARY = {"state": "running", "captured": 0, "rendered": 0, "dropped": 0, "failed": 0}


class GrowingRun:
    """Writes captures into a directory, in the recorder's order, and counts the bytes."""

    def __init__(self, folder: Path, *, identity: str = "20260101-000000-abc123") -> None:
        self.folder = folder
        self.identity = identity
        self.step = 0
        self.written = 0
        folder.mkdir(exist_ok=True)
        self._summarize("running")

    def capture(self, picture_bytes: int = 20_000) -> None:
        """Write one capture: a picture, statistics, a line of the history, an event."""
        self.step += 1
        folder = self.folder / f"step_{self.step}"
        self._write(folder / "decoder_layer0_self_attn.png", os.urandom(picture_bytes))
        line = {"metadata": {"step": self.step}, "encoder": [], "decoder": [], "pad": "x" * 500}
        text = json.dumps(line).encode() + b"\n"
        self._write(folder / "statistics.json", text)
        if self.step == 1:
            start = {"id": self.identity, "resumed": [], "started": 1.0, "layers": []}
            self._write(self.folder / "run.json", json.dumps(start).encode())
        self._append(self.folder / "history.jsonl", text)
        self._append(
            self.folder / "tensorboard" / "events.out.tfevents.1.host.2.3", os.urandom(900)
        )
        self._summarize("running")

    def close(self) -> None:
        """Write the last summary."""
        self._summarize("closed")

    def _summarize(self, state: str) -> None:
        content = {**SUMMARY, "state": state, "captured": self.step, "rendered": self.step}
        self._write(self.folder / "summary.json", json.dumps(content).encode())

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        hidden = path.with_name(f".{path.name}.attnmon-{os.getpid()}-0.tmp")
        hidden.write_bytes(content)
        hidden.rename(path)
        self.written += len(content)

    def _append(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.write(content)
        self.written += len(content)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all that is mirrored of a directory, by name."""
    own = ("mirror.json", "upload.jsonl")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in own
    }
