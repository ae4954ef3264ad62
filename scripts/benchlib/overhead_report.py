"""Shows the figures of `bench_overhead.py` on a terminal."""

from typing import Any

HEADING = (
    "configuration          workload regime       step ms │ accounted stepwise │ "
    "µs a capture: accounted  real │ A/B "
    "                        │ trainer CPU │ thread pool  in loop │ worst step ms: none  ours  pool"
    " │ renderer ms │ captured rendered dropped"
)


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
