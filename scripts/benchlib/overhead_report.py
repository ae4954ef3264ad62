"""Shows the figures of `bench_overhead.py` on a terminal and as a plot."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

GOALS = {
    "lightweight_every_50": 1.0005,
    "lightweight_every_10": 1.0015,
    "statistics_every_100": 1.0005,
    "heatmaps_every_100": 1.001,
    "everything_every_50": 1.002,
    "lightweight_every_1": 1.02,
}
"""Goals for `accounted`, with a spare core."""
HEADING = (
    "configuration          workload regime       step ms │ accounted stepwise │ "
    "µs a capture: accounted  real │ A/B "
    "                        │ trainer CPU │ thread pool  in loop │ worst step ms: none  ours  pool"
    " │ renderer ms │ captured rendered dropped"
)
ARMS = (
    ("accounted", "attnmon: time in its calls", "tab:green", "o"),
    ("ab", "attnmon: training with it, against without", "tab:blue", "s"),
    ("thread_pool_ab", "with a pool of threads, against without", "tab:orange", "^"),
    ("in_loop_ab", "with add_figure in the loop, against without", "tab:red", "v"),
)
REGIMES = {"spare_core": "a core to spare", "saturated": "every core busy"}
COLUMNS = 2
SMALLEST = 1e-5
"""Smaller overheads are drawn here: a logarithmic scale has no zero."""
TICKS = {"none seen": 100 * SMALLEST, "0.01": 0.01, "0.1": 0.1, "1": 1, "10": 10, "100": 100}


def line(row: dict[str, Any]) -> str:
    worst = row["worst_step_ms"]
    return (
        f"{row['configuration']:22} {row['workload']:8} {row['regime']:10} {row['step_ms']:9.1f} │ "
        f"{row['accounted']:9.5f} {row['stepwise']:8.5f} │ "
        f"{row['accounted_us']:23.0f} {row['real_us']:5.0f} │ "
        f"{row['ab']:7.4f} [{row['ab_low']:7.4f}, {row['ab_high']:7.4f}] │ "
        f"{row['trainer_cpu']:11.4f} │ {row['thread_pool_ab']:11.4f} {row['in_loop_ab']:8.4f} │ "
        f"{worst['none']:19.0f} {worst['attnmon']:5.0f} {worst['thread_pool']:5.0f} │ "
        f"{row['renderer_cpu_ms']:11.1f} │ "
        f"{row['captured']:8} {row['rendered']:8} {row['dropped']:7}"
        + (f"   {row['cut_short']} blocks cut short" if row["cut_short"] else "")
    )


def without_pause_line(row: dict[str, Any]) -> str:
    times = row["interference"]
    compared = "ours is not to be seen" if times is None else f"theirs is {times:.0f} times ours"
    return (
        f"drawing without pause, {row['workload']} {row['regime']}: ours mean {row['mean']:.3f}, "
        f"p99 {row['p99']:.3f}; thread pool mean {row['thread_pool_mean']:.3f}, "
        f"p99 {row['thread_pool_p99']:.3f}; {compared}"
    )


def plot(found: dict[str, Any], path: Path) -> None:
    """Plot the overhead of each design in each configuration, a panel per workload and regime."""
    cases = list(dict.fromkeys((row["workload"], row["regime"]) for row in found["rows"]))
    lines, columns = math.ceil(len(cases) / COLUMNS), min(COLUMNS, len(cases))
    figure = Figure(figsize=(10.0, 0.9 + 4.0 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for ax, case in zip(axes.flat, cases, strict=False):
        rows = [row for row in found["rows"] if (row["workload"], row["regime"]) == case]
        _draw(ax, rows)
        step = sum(row["step_ms"] for row in rows) / len(rows)
        ax.set_title(f"{case[0]} step ({step:.0f} ms), {REGIMES[case[1]]}")
    for ax in axes.flat[len(cases) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("overhead, % of training time")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=120)


def _draw(ax: Any, rows: Sequence[dict[str, Any]]) -> None:
    names = [row["configuration"].replace("_every_", "\nevery ") for row in rows]
    for key, label, colour, marker in ARMS:
        overhead = [100 * max(row[key] - 1, SMALLEST) for row in rows]
        ax.semilogy(names, overhead, marker, color=colour, label=label)
    if rows[0]["regime"] == "spare_core":  # what the goals are for
        goals = [100 * (GOALS[row["configuration"]] - 1) for row in rows]
        label = "goal for the time in its calls"
        ax.semilogy(names, goals, "_", color="black", markersize=22, label=label)
    ax.set_yticks(list(TICKS.values()), TICKS)
    ax.minorticks_off()
    ax.tick_params(axis="x", rotation=60)
    ax.grid(axis="y", alpha=0.3)
