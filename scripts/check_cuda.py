"""Check the monitor's claims on a machine with a CUDA device, and print a table.

    python scripts/check_cuda.py [--json FILE] [--minutes 6] [--only TEXT]
    python scripts/check_cuda.py --compile 80 90

Ends with 0 when every claim holds, 1 when one does not or was not reached, 2 without a device. A
claim whose process hangs or dies costs itself alone. With --compile no device is needed: all
kernels are compiled, in every way, for these compute capabilities; this takes an hour of one core.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from benchlib.attention_block import AttentionBlock
from benchlib.claim_runner import Check, Row, check_here, checked_apart
from benchlib.compiled_kernels import Case, as_table, compile_all, every_layer, requests
from benchlib.device_layers import (
    PICTURE,
    SIDE,
    largest_error,
    layer_on,
    materialised,
    median_ms,
    new_scratch,
    peak_bytes,
    survey,
    variants,
)
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.device.kernel_builds import BUILDS
from attnmon.device.kernel_support import division
from attnmon.device.survey_grid import SurveyGrid
from attnmon.link.ring import MEBIBYTE, make_ring
from attnmon.serialize.device_copy import DeviceCopies

DEVICE, STEPS = "cuda", 50
MOST_SECONDS = 100.0
"""After which a claim is given up."""
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS may not repeat itself
BATCH, LENGTH, WIDTH, HEADS, LAYERS = 16, 1024, 768, 12, 12


class LanguageModel(nn.Module):
    """A model of the size of GPT-2 small, without its vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, LAYERS, enable_nested_tensor=False)

    def forward(self, hidden: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(hidden.shape[1], hidden.device)
        output: Tensor = self.blocks(hidden, mask=mask, is_causal=True)
        return output


class Training:
    """A training of one model on the same data at each step.

    mode: That of `torch.compile`, for a small model in float32; None compiles nothing.
    """

    def __init__(self, mode: str | None = None) -> None:
        torch.manual_seed(0)
        # In float32 it repeats itself bit for bit when it is compiled.
        small = nn.Sequential(*(AttentionBlock(WIDTH, HEADS) for _ in range(3)))
        self.model = (LanguageModel() if mode is None else small).to(DEVICE)
        self.forward = self.model if mode is None else torch.compile(small, mode=mode)
        self._is_compiled = mode is not None
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.batch = torch.randn(BATCH, LENGTH, WIDTH, device=DEVICE)
        self.taken = 0

    def step(self, monitor: Any = None) -> Tensor:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=not self._is_compiled):
            loss = self.forward(self.batch).float().pow(2).mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        if monitor is not None:
            monitor.log_attention(self.forward, self.batch, step=self.taken, loss=loss.detach())
        self.taken += 1
        detached: Tensor = loss.detach()
        return detached


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="attnmon-") as name:
        yield Path(name)


def nothing_synchronises(**how: Any) -> tuple[bool, str]:
    training = Training()
    with folder() as path, TrainingAttentionMonitor(path, 1, max_overhead=None, **how) as monitor:
        for _ in range(3):
            training.step(monitor)  # the first capture counts the layers, and may wait
        if how:
            until_trusted(training, monitor)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(5):
                training.step(monitor)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        accounts = monitor.close()
    return accounts["failed"] == 0, f"{accounts['captured']} captures, {accounts['failed']} failed"


def until_trusted(training: Training, monitor: Any) -> int:
    """Train until all kernels are compiled and found right, or not; return how many are right."""
    summaries = monitor._session.serializer.summaries
    trust, started = summaries.trust, time.monotonic()

    def is_settled() -> bool:
        tried = set(trust._names.values())
        return bool(tried) and not summaries._waiting and tried <= trust.trusted | {*trust._refused}

    while not is_settled() and time.monotonic() < started + 60 and not BUILDS.failure:
        training.step(monitor)
        time.sleep(0.1)
    return len(trust.trusted)


def kernels_are_compiled(**how: Any) -> None:
    """Train beside another monitor, until this process has what it launches."""
    with (
        folder() as path,
        TrainingAttentionMonitor(path, 1, max_overhead=None, **how) as monitor,
    ):
        until_trusted(Training(), monitor)


def nothing_is_compiled_in_the_training() -> tuple[bool, str]:
    from triton import knobs

    compiled: list[str] = []
    knobs.compilation.listener = lambda *, src, cache_hit, **_: (
        None if cache_hit else compiled.append(src.name)
    )
    training, calls = Training(), [0.0]
    with (
        folder() as path,
        TrainingAttentionMonitor(path, 1, max_overhead=None, **ON_DEVICE) as monitor,
    ):
        log, started = monitor.log_attention, time.monotonic()

        def timed(*given: Any, **named: Any) -> None:
            before = time.perf_counter()
            log(*given, **named)
            calls.append(time.perf_counter() - before)

        monitor.log_attention = timed  # type: ignore[method-assign]
        trusted = until_trusted(training, monitor)
        seconds = time.monotonic() - started
    knobs.compilation.listener = None
    longest = sorted(calls)[-3:]
    found = f"{len(compiled)} kernels compiled in it, {trusted} trusted after {seconds:.0f} s; "
    found += f"longest calls {', '.join(f'{1e3 * call:.0f}' for call in longest)} ms"
    return trusted > 0 and not compiled, found + (f"; {BUILDS.failure}" if BUILDS.failure else "")


def kernels_compile() -> tuple[bool, str]:
    """Compile beside each other what the next claim launches, which would compile one by one."""
    major, minor = torch.cuda.get_device_capability()
    layers = [Case(name, layer, SIDE, PICTURE) for name, layer in variants("cpu").items()]
    asked = requested(10 * major + minor, layers)
    kernels = list(compile_all(asked, min(os.cpu_count() or 1, 8)))
    return all(each.fits for each in kernels), as_table(kernels).replace("\n", "; ")


def requested(capability: int, layers: list[Case]) -> Mapping[str, str]:
    """Return what is to be compiled for these, of a process whose Triton has this one driver."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(requests, capability, layers).result()


def layers_are_summed_up_as_in_float64() -> tuple[bool, str]:
    errors, failed = {}, []
    for name, layer in variants(DEVICE).items():
        try:
            errors[name] = largest_error(layer)
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__}: {error}"[:200])
    worst = max(errors.values(), default=math.inf)
    told = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    return not failed and worst < 1e-5, "; ".join([told, *failed])


def a_training_is_summed_up_as_by_the_renderer() -> tuple[bool, str]:
    training = Training()
    with (
        folder() as path,
        TrainingAttentionMonitor(path, 1, max_overhead=None, **ON_DEVICE) as monitor,
    ):
        training.step(monitor)
        trusted = until_trusted(training, monitor)
        reasons = monitor._session.sent_as_queries
        warned = monitor._session.guard.remarks.warnings
    found = "; ".join([*set(reasons.values()), *warned]) or "all layers summed up"
    return trusted > 0 and not reasons and not warned, f"{trusted} kernels trusted; {found}"


def a_long_layer_is_quick_and_small() -> tuple[bool, str]:
    layer = layer_on(DEVICE, 32, 8192, 128, torch.bfloat16)
    scratch = new_scratch(DEVICE)
    free = torch.cuda.mem_get_info()[0]
    list(survey(layer, scratch))
    torch.cuda.synchronize()
    taken = free - torch.cuda.mem_get_info()[0]
    ms, dense_ms = (
        median_ms(lambda: list(survey(layer, scratch))),
        median_ms(lambda: materialised(layer), 3),
    )
    extra = peak_bytes(lambda: list(survey(layer, scratch))) + scratch.nbytes
    dense = peak_bytes(lambda: materialised(layer))
    grid = SurveyGrid.of(layer, SIDE, PICTURE)
    sent = division(layer, grid).bytes_sent(grid)
    holds = dense_ms >= 10 * ms and dense >= 100 * extra and extra <= 2**21
    holds = holds and 100 * sent <= layer.nbytes
    return holds, (
        f"{ms:.1f} ms of {dense_ms:.0f}, {extra / 1e6:.1f} MB of {dense / 1e6:,.0f}; "
        f"{sent / 1e6:.2f} MB sent of {layer.nbytes / 1e6:.0f}; with code and local memory "
        f"{taken / 1e6:.1f} MB of the device"
    )


def training_is_bit_identical(mode: str | None = None, **how: Any) -> tuple[bool, str]:
    def run(monitor: Any) -> list[Tensor]:
        training, losses = Training(mode), []
        for _ in range(10):
            losses.append(training.step(monitor))
            if how and monitor is not None:
                time.sleep(0.3)  # the renderer's answer is to come
        return [torch.stack(losses), *training.model.parameters()]

    def are_equal(one: list[Tensor], other: list[Tensor]) -> bool:
        return all(map(torch.equal, one, other))

    if how:
        kernels_are_compiled(**how)
    torch.use_deterministic_algorithms(True)  # cuDNN's attention, for one, gives other sums
    try:
        without, again = run(None), run(None)
        with (
            folder() as path,
            TrainingAttentionMonitor(path, 1, max_overhead=None, **how) as monitor,
        ):
            watched = run(monitor)
            summaries = monitor._session.serializer.summaries
            trusted = len(summaries.trust.trusted) if summaries is not None else 0
            accounts = monitor.close()
    finally:
        torch.use_deterministic_algorithms(False)
    if not are_equal(without, again):
        return False, "two trainings without a monitor differ: nothing can be said"
    drawn = f"10 steps, losses and parameters; {accounts['rendered']} captures drawn"
    holds = are_equal(without, watched) and accounts["rendered"] > 0
    return (holds and trusted > 0, f"{drawn}, {trusted} kernels trusted") if how else (holds, drawn)


def weights_are_the_models_own() -> tuple[bool, str]:
    from safetensors.torch import load_file

    training = Training()
    model = training.model
    assert isinstance(model, LanguageModel)
    layer = model.blocks.layers[0]
    assert isinstance(layer, nn.TransformerEncoderLayer)
    with (
        folder() as path,
        TrainingAttentionMonitor(
            path, 1, layers_to_visualize=[0], save_raw_weights=True, max_overhead=None
        ) as monitor,
    ):
        monitor.log_attention(training.model, training.batch, step=0)
        monitor.close()
        raw = load_file(path / "step_0" / "attention_weights.safetensors")
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH, torch.device(DEVICE))
    normed = layer.norm1(training.batch[:1])
    with torch.no_grad():
        expected = layer.self_attn(
            normed, normed, normed, attn_mask=mask, average_attn_weights=False
        )[1][0].cpu()
    error = (raw["decoder_layer0_self_attn"] - expected).abs().max().item()
    return error < 1e-4, f"largest difference {error:.1e}"


def memory_stays_small(**how: Any) -> tuple[bool, str]:
    def peak(monitor: Any) -> int:
        training = Training()
        for _ in range(4):
            training.step(monitor)
        if how and monitor is not None:
            until_trusted(training, monitor)
        torch.cuda.reset_peak_memory_stats()
        for _ in range(4):
            training.step(monitor)
        return torch.cuda.max_memory_allocated()

    without = peak(None)
    with folder() as path, TrainingAttentionMonitor(path, 1, max_overhead=None, **how) as monitor:
        extra = (peak(monitor) - without) / 2**20
    if how:
        return extra <= 2, f"{extra:.1f} MiB more"
    one_layer = 2 * HEADS * LENGTH * (WIDTH // HEADS) * 2 / 2**20
    return extra <= one_layer + 2, f"{extra:.1f} MiB more; one layer's Q and K are {one_layer:.1f}"


def copies_run_at_the_speed_of_pinned_memory() -> tuple[bool, str]:
    size = 64 * MEBIBYTE
    ring = make_ring(size)
    ours = torch.frombuffer(ring.memory, dtype=torch.uint8)
    copies = DeviceCopies(ours, lambda: ring.nbytes)
    source = torch.zeros(ring.nbytes, dtype=torch.uint8, device=DEVICE)
    pinned = torch.empty(ring.nbytes, dtype=torch.uint8, pin_memory=True)

    def into_ring() -> None:
        copies.copy(ours, source)
        copies.end_batch().wait()

    def into_pinned() -> None:
        pinned.copy_(source, non_blocking=True)
        torch.cuda.synchronize()

    ratio = in_turns(into_pinned, into_ring, 20)
    copies.unpin()
    ring.close_descriptor()
    return ratio >= 0.95, f"{ratio:.3f} of the speed into pinned memory"


def overhead(every: int, most: float, times: int = 6, **how: Any) -> Check:
    def measure() -> tuple[bool, str]:
        plain, watched = Training(), Training()
        with folder() as path:
            monitor = LightweightAttentionMonitor(path, every, max_overhead=None, **how)
            trusted = 0
            if how:
                watched.step(monitor)
                trusted = until_trusted(watched, monitor)

            def steps(training: Training, watching: Any) -> Callable[[], None]:
                def run() -> None:
                    for _ in range(STEPS):
                        training.step(watching)
                    torch.cuda.synchronize()

                return run

            ratio = 1 / in_turns(steps(plain, None), steps(watched, monitor), times)
            monitor.close()
        told = f"{ratio:.4f} of the time without" + f", {trusted} kernels trusted" * bool(how)
        return ratio <= most and (trusted > 0 or not how), told

    return measure


def in_turns(one: Callable[[], None], other: Callable[[], None], times: int) -> float:
    """Run both in turns; returns the median time of `one` over that of `other`."""
    one()
    other()  # both are warm now
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(2 * times):
        which = (turn + turn // 2) % 2  # ABBA
        started = time.perf_counter()
        (one, other)[which]()
        seconds[which].append(time.perf_counter() - started)
    return statistics.median(seconds[0]) / statistics.median(seconds[1])


ON_DEVICE: dict[str, Any] = {"on_device": True}
"""Beside what is the default: heat maps of the first and the last layer."""
ALL_MAPS: dict[str, Any] = {**ON_DEVICE, "maps": "all"}

CLAIMS: dict[str, Check] = {
    "on the device: kernels compile": kernels_compile,
    "… as in float64": layers_are_summed_up_as_in_float64,
    "… compiled beside the training": nothing_is_compiled_in_the_training,
    "… as the renderer finds": a_training_is_summed_up_as_by_the_renderer,
    "… training is bit-identical": partial(training_is_bit_identical, **ON_DEVICE),
    "… 8,192 positions: 10 times quicker": a_long_layer_is_quick_and_small,
    "… no synchronisation": partial(nothing_synchronises, **ON_DEVICE),
    "… at most 2 MiB": partial(memory_stays_small, **ON_DEVICE),
    "… every 10 steps at most 1.005": overhead(10, 1.005, 3, **ALL_MAPS),
    "… every step at most 1.02": overhead(1, 1.02, 3, **ALL_MAPS),
    "no synchronisation in a watched step": nothing_synchronises,
    "training is bit-identical": training_is_bit_identical,
    "the weights are the model's own": weights_are_the_models_own,
    "little memory on the device": memory_stays_small,
    "copies as fast as into pinned memory": copies_run_at_the_speed_of_pinned_memory,
    "a compiled one is": partial(training_is_bit_identical, "default"),
    "one compiled to CUDA graphs is": partial(training_is_bit_identical, "reduce-overhead"),
    "every 10 steps at most 1.002": overhead(10, 1.002),
    "every step at most 1.02": overhead(1, 1.02),
}
"""In the order of what is known least: when the time is over, the last ones are left out."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="write the results to this file, one by one")
    parser.add_argument("--minutes", type=float, default=6, help="begin no claim after so many")
    parser.add_argument("--only", default="", help="claims, or layers, with this in their names")
    parser.add_argument("--compile", type=int, nargs="+", metavar="90", help="see above")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--to", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = {claim: check for claim, check in CLAIMS.items() if options.only in claim}
    if options.compile:
        return all_compile(options.compile, options.only)
    if options.child is not None:
        check_here(list(chosen.values()), options.child, options.to, torch.cuda.synchronize)
        return 0
    if not torch.cuda.is_available():
        print("no CUDA device: nothing was checked")
        return 2
    with folder() as cache:
        os.environ.setdefault("TRITON_CACHE_DIR", str(cache))
        return report(chosen, options)


def all_compile(capabilities: Collection[int], only: str) -> int:
    """Compile the kernels in all ways that are called so; return 1 where one does not fit."""
    fits = True
    for capability in capabilities:
        layers = [case for case in every_layer() if only in case.name]
        kernels = list(compile_all(requested(capability, layers), os.cpu_count() or 1))
        print(f"compute capability {capability / 10}\n{as_table(kernels)}", flush=True)
        fits = fits and all(each.fits for each in kernels)
    return 0 if fits else 1


def report(chosen: Collection[str], options: argparse.Namespace) -> int:
    device = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    print(device, flush=True)
    rows: list[Row] = []
    seconds = 60 * options.minutes
    more = ("--only", options.only)
    for row in checked_apart(__file__, list(chosen), MOST_SECONDS, seconds, more):
        rows.append(row)
        held = {True: "yes", False: "NO", None: "-"}[row["holds"]]
        took = f"{row['seconds']:4.0f} s" if "seconds" in row else ""
        print(f"{held:3}  {row['claim']:40}  {took:6}  {row['measured']}", flush=True)
        if options.json:
            found = {"device": device, "rows": rows}
            options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
