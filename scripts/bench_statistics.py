"""Measure what statistics cost tile by tile, against the whole queries × keys in numpy.

    python scripts/bench_statistics.py [--quick] [--queries N …] [--json FILE]

Both compute the same numbers in float32, in one thread, in turns; CPU time, best of several. The
error is that of the tiled statistics against the whole computation in float64. Where the whole is
too large to hold, the error is measured on 64 of the queries.
"""

import argparse
import json
import platform
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from benchlib.one_thread import run_on_one_thread

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis, analyze_layer
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.layer_statistics import LayerStatistics

Array = npt.NDArray[Any]

HEADS, WIDTH = 4, 64
QUICK_LENGTHS = (512, 1024, 2048)
LENGTHS = (*QUICK_LENGTHS, 4096, 8192, 16_384, 32_768)
LARGEST_WHOLE = 4096
"""Longest sequence of which the whole is computed; longer ones need too much memory."""


def whole(query: Array, key: Array, scale: float, rows: Array, causal: bool) -> dict[str, Array]:
    """Returns the same statistics of the queries `rows`, written plainly in numpy."""
    logits = scale * (query[:, rows] @ key.transpose(0, 2, 1))
    keys = np.arange(key.shape[1])
    past = keys <= rows[:, None] if causal else np.ones((len(rows), len(keys)), bool)
    logits = np.where(past, logits, -np.inf)
    exponentials = np.exp(logits - logits.max(axis=2, keepdims=True))
    weights = exponentials / exponentials.sum(axis=2, keepdims=True)
    entropies = -(weights * np.log(np.where(weights > 0, weights, 1))).sum(axis=2)
    choices = past.sum(axis=1)
    distances = abs(rows[:, None] - keys).astype(weights.dtype)
    return {
        "mean": weights.mean(),
        "std": weights.std(),
        "min": weights.min(),
        "max": weights.max(),
        "entropy": (entropies / np.log(np.maximum(2, choices)))[:, choices > 1].mean(axis=1),
        "effective_keys": np.exp(entropies).mean(axis=1),
        "max_logit": logits.max(axis=(1, 2)),
        "first_token": weights[:, :, 0].mean(axis=1),
        "distance": (weights * distances).sum(axis=2).mean(axis=1),
        "diagonal": weights[:, np.arange(len(rows)), rows].mean(axis=1),
    }


def error(found: LayerStatistics, expected: dict[str, Array]) -> float:
    """Returns the largest absolute error; relative where a statistic is larger than 1."""
    flat = vars(found) | found.heads
    errors = [
        np.max(abs(np.asarray(flat[name]) - value) / np.maximum(1, abs(value)))
        for name, value in expected.items()
    ]
    return float(max(errors))


def in_turns(repeats: int, *arms: Callable[[], object]) -> list[float]:
    """Run the arms in turns; returns the least CPU seconds of each."""
    best = [float("inf")] * len(arms)
    for _ in range(repeats):
        for index, arm in enumerate(arms):
            start = time.process_time()
            arm()
            best[index] = min(best[index], time.process_time() - start)
    return best


def peak_bytes(arm: Callable[[], object]) -> int:
    tracemalloc.start()
    arm()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


class Layer:
    """Random queries and keys of one length, and both ways to their statistics."""

    def __init__(self, length: int, causal: bool) -> None:
        self.length, self.causal = length, causal
        rng = np.random.default_rng(length)
        self.query, self.key = rng.standard_normal((2, HEADS, length, WIDTH), np.float32)
        self.memory = self.query.tobytes() + self.key.tobytes()
        self.message = Attention(
            name="layer",
            stack="decoder",
            layer=0,
            type="self_attention",
            source="benchmark",
            heads=tuple(range(HEADS)),
            query=ArrayBlock(0, "float32", self.query.shape),
            key=ArrayBlock(self.query.nbytes, "float32", self.key.shape),
            scale=WIDTH**-0.5,
            causal=causal,
        )

    def tiled(self, queries: int | Literal["all"] = "all") -> LayerStatistics:
        layer = LayerAttention(self.message, self.memory)
        return analyze_layer(layer, statistics_queries=queries).statistics

    def by_default(self) -> LayerStatistics:
        return analyze_layer(LayerAttention(self.message, self.memory)).statistics

    def with_maps(self) -> LayerAnalysis:
        layer = LayerAttention(self.message, self.memory)
        return analyze_layer(layer, average_side=1024, head_side=256)

    def whole(self) -> dict[str, Array]:
        rows = np.arange(self.length)
        return whole(self.query, self.key, self.message.scale, rows, self.causal)

    def error(self) -> float:
        """Returns the error of the tiled statistics; of 64 queries where all are too many."""
        count = self.length if self.length <= LARGEST_WHOLE // 2 else 64
        rows = np.linspace(0, self.length - 1, count).round().astype(np.intp)
        query, key = self.query.astype(np.float64), self.key.astype(np.float64)
        return error(self.tiled(count), whole(query, key, self.message.scale, rows, self.causal))


def measure(length: int, causal: bool, repeats: int) -> dict[str, Any]:
    layer = Layer(length, causal)
    feasible = length <= LARGEST_WHOLE
    arms = [layer.tiled, layer.by_default, layer.with_maps]
    tiled, default, maps, *plain = in_turns(repeats, *arms, *([layer.whole] if feasible else []))
    return {
        "queries": length,
        "heads": HEADS,
        "causal": causal,
        "whole_ms": plain[0] * 1e3 if plain else None,
        "tiled_ms": tiled * 1e3,
        "ratio": plain[0] / tiled if plain else None,
        "default_ms": default * 1e3,
        "with_maps_ms": maps * 1e3,
        "map_bytes": HEADS * length**2 * 4,
        "whole_peak_bytes": peak_bytes(layer.whole) if plain else None,
        "tiled_peak_bytes": peak_bytes(layer.tiled),
        "error": layer.error(),
    }


COLUMNS = (
    "queries causal │ N×N ms  tiled ms  ratio │ default ms  with maps ms "
    "│ N×N MB  tiled MB │   error"
)


def line(row: dict[str, Any]) -> str:
    def number(value: float | None, width: int, digits: int = 1) -> str:
        return f"{'–':>{width}}" if value is None else f"{value:{width}.{digits}f}"

    return " ".join(
        (
            f"{row['queries']:7}",
            f"{'yes' if row['causal'] else 'no':>6} │",
            number(row["whole_ms"], 6),
            number(row["tiled_ms"], 9),
            number(row["ratio"], 6),
            "│",
            number(row["default_ms"], 10),
            number(row["with_maps_ms"], 13),
            "│",
            number(row["whole_peak_bytes"] and row["whole_peak_bytes"] / 1e6, 6),
            number(row["tiled_peak_bytes"] / 1e6, 9),
            f"│ {row['error']:7.0e}",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="up to 2,048 queries, few times")
    parser.add_argument("--queries", type=int, nargs="+", help="these lengths")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    run_on_one_thread()
    print(f"{HEADS} heads of width {WIDTH}, one thread, numpy {np.__version__}")
    print(COLUMNS)
    rows = []
    for length in options.queries or (QUICK_LENGTHS if options.quick else LENGTHS):
        for causal in (False, True):
            most = 3 if options.quick else 20
            repeats = max(1, min(most, most * 1024**2 // length**2))
            rows.append(measure(length, causal, repeats))
            print(line(rows[-1]), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(
                {"machine": platform.platform(), "numpy": np.__version__, "rows": rows},
                file,
                indent=2,
            )


if __name__ == "__main__":
    main()
