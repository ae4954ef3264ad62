"""Writes a run's directory with maps of given weights, by the libraries' own writers.

Nothing of attnmon's writes here: what reads it is tested against this.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

Weights = npt.NDArray[Any]
"""[heads, queries, keys] Softmax weights, not pooled."""


def write_run(
    folder: Path,
    captures: Mapping[int, Mapping[str, Weights]],
    *,
    losses: Mapping[int, float] | None = None,
    tokens: Mapping[str, Sequence[str]] | None = None,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    start: Mapping[str, Any] | None = None,
    state: str = "closed",
) -> Path:
    """Write a run of these captures: by step, the weights of each layer by its stem."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for step, layers in captures.items():
        loss = (losses or {}).get(step, 1 / (1 + step))
        write_maps(folder / f"step_{step}" / "maps.safetensors", step, layers, loss, tokens)
        lines.append(json.dumps(capture_record(step, layers, loss)) + "\n")
    (folder / "history.jsonl").write_text("".join(lines))
    summary = {
        "state": state, "captured": len(captures), "rendered": len(captures), "dropped": 0,
        "failed": 0, "pids": [], "last_step": max(captures, default=None),
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    run = {
        "format": "attnmon-run 1", "id": f"19700101-000000-{folder.name}", "started": 0.0,
        "host": "here", "command": ["train.py"], "directory": "/", "git": None, "versions": {},
        "resumed": [], "settings": dict(settings or {}), "config": config, "rank": 0,
        "world_size": 1,
        "layers": [layer_row(stem, weights) for stem, weights in first(captures).items()],
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run | dict(start or {})))
    return folder


def first(captures: Mapping[int, Mapping[str, Weights]]) -> Mapping[str, Weights]:
    return next(iter(captures.values()), {})


def role(stem: str) -> tuple[str, int, str]:
    """Returns a layer's stack, its number and "self" or "cross"."""
    stack, layer, short, _ = stem.split("_")
    return stack, int(layer.removeprefix("layer")), short


def layer_row(stem: str, weights: Weights) -> dict[str, Any]:
    stack, layer, short = role(stem)
    heads, queries, keys = weights.shape
    return {
        "role": f"{stack}_{short}", "layer": layer, "module": f"{stack}.{layer}", "source": "sdpa",
        "heads": heads, "queries": queries, "keys": keys, "note": "",
    }  # fmt: skip


def capture_record(step: int, layers: Mapping[str, Weights], loss: float) -> dict[str, Any]:
    """Returns the line of a capture in `history.jsonl`."""
    rows: dict[str, list[dict[str, Any]]] = {"encoder": [], "decoder": []}
    for stem, weights in layers.items():
        stack, layer, short = role(stem)
        values = weights.astype(np.float64)
        logs = np.log(np.where(values > 0, values, 1))
        entropy = -(values * logs).sum(-1).mean(-1) / np.log(max(2, values.shape[2]))
        rows[stack].append(
            {
                "layer": layer, "type": f"{short}_attention", "mean": float(values.mean()),
                "std": float(values.std()), "min": float(values.min()),
                "max": float(values.max()), "shape": list(values.shape),
                "name": f"{stack}.{layer}", "source": "sdpa",
                "head_indices": list(range(len(values))),
                "heads": {"entropy": entropy.tolist()},
            }
        )  # fmt: skip
    metadata = {
        "step": step, "epoch": None, "loss": loss, "timestamp": 1.0 + step, "sample": 0,
        "seen_in": "probe",
    }  # fmt: skip
    return {"metadata": metadata, **rows}


def write_maps(
    path: Path,
    step: int,
    layers: Mapping[str, Weights],
    loss: float = 1.0,
    tokens: Mapping[str, Sequence[str]] | None = None,
    side: int = 128,
    **changed: str,
) -> None:
    """Write the maps of a capture; `changed` replaces metadata."""
    tensors: dict[str, Weights] = {}
    about = {"format": "attnmon-maps 1", "step": str(step), "loss": str(loss)}
    if tokens:
        about["tokens"] = json.dumps({stack: list(each) for stack, each in tokens.items()})
    for stem, weights in layers.items():
        heads, queries, keys = weights.shape
        cells, steps = pooled(weights, side)
        codes, scale = encoded(cells)
        tensors |= {
            stem: codes,
            f"{stem}.scale": scale,
            f"{stem}.thumbs": shrunk(codes),
            f"{stem}.received": weights.mean(1, dtype=np.float64).astype(np.float16)
            if steps[1] == 1
            else cells.mean(1).astype(np.float16),
            f"{stem}.strongest": weights[:, :: steps[0]].argmax(2).astype(np.uint32),
        }
        about |= {
            f"{stem}.heads": ",".join(map(str, range(heads))),
            f"{stem}.shape": f"{heads},{queries},{keys}",
            f"{stem}.query_step": str(steps[0]),
            f"{stem}.key_step": str(steps[1]),
            f"{stem}.causal": str(bool(np.triu(weights, 1).max(initial=0) == 0)).lower(),
            f"{stem}.earlier": "0",
            f"{stem}.module": ".".join(map(str, role(stem)[:2])),
            f"{stem}.source": "sdpa",
            f"{stem}.note": "",
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(tensors, str(path), {**about, **changed})


def pooled(weights: Weights, side: int) -> tuple[Weights, tuple[int, int]]:
    """Returns cells: the mean over their queries of the sum over their keys, and their steps."""
    steps = [max(1, -(-length // side)) for length in weights.shape[1:]]
    cells = weights.astype(np.float64)
    starts = [np.arange(0, size, step) for size, step in zip(cells.shape[1:], steps, strict=True)]
    counts = np.add.reduceat(np.ones(cells.shape[1]), starts[0])
    cells = np.add.reduceat(np.add.reduceat(cells, starts[0], 1), starts[1], 2)
    return cells / counts[:, None], (steps[0], steps[1])


def encoded(cells: Weights) -> tuple[Weights, Weights]:
    """Returns codes, and the scale of each head."""
    scale = cells.max(axis=(1, 2))
    shares = cells / np.where(scale > 0, scale, 1)[:, None, None]
    return np.round(255 * np.sqrt(shares)).astype(np.uint8), scale.astype(np.float32)


def shrunk(codes: Weights, side: int = 32) -> Weights:
    """Returns codes pooled by maximum."""
    for axis in (1, 2):
        step = max(1, -(-codes.shape[axis] // side))
        codes = np.maximum.reduceat(codes, np.arange(0, codes.shape[axis], step), axis)
    return np.ascontiguousarray(codes)


def random_weights(heads: int, queries: int, keys: int, seed: int = 0, causal: bool = False) -> Any:
    """Returns softmax weights, [heads, queries, keys] in float32."""
    logits = np.random.default_rng(seed).normal(size=(heads, queries, keys)) * 2
    if causal:
        logits = np.where(np.tri(queries, keys, dtype=bool), logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)
