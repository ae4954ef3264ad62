"""Measure what the transport from the training process to the renderer costs.

    python scripts/bench_transport.py [--quick] [--json FILE]

Copying into the ring against memcpy and torch into ordinary memory, in turns; announcing a record
against `multiprocessing.Queue`; how soon the other process has it; what a renderer with nothing to
do takes; and what a monitor takes of the training process's memory. Times are medians.
"""

import argparse
import ctypes
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from benchlib.announcing import LAYERS, announcing, in_turns, latencies
from benchlib.resources_taken import construction, idle_renderer, memory

from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture import AttentionCall, SdpaCall
from attnmon.layers.layer_numbering import Role
from attnmon.layers.layer_selection import SelectedLayer
from attnmon.link.channel import Channel
from attnmon.link.ring import MEBIBYTE, make_ring
from attnmon.serialize.serializer import CaptureSerializer
from attnmon.session.producer import Producer

RING_BYTES = 80 * MEBIBYTE


def copies(quick: bool) -> Iterator[dict[str, Any]]:
    """Measure copying one layer's query and key into the ring, with the functions of a capture."""
    ours, theirs = Channel.pair()
    producer = Producer(make_ring(RING_BYTES), ours, Counters())
    serializer = CaptureSerializer(producer.ring, ErrorGuard())
    place = SelectedLayer("decoder.0", Role("decoder", "self_attention"), 0, (0,))
    for kib in (64, 1024, 4096) if quick else (64, 256, 1024, 4096, 16384, 65536):
        source = torch.rand(2, kib * 128)
        there = torch.empty_like(source)
        nbytes = kib * 1024
        query, key = source.view(2, 1, 1, -1, 64)
        look = ("decoder.0", 0, query.shape)
        seen = AttentionCall("decoder.0", 0, "kernel", 1, query=query, key=key, signature=look)
        call = SdpaCall("decoder.0", 0, look, query, key, None, None, 1)

        def into_ring(seen: AttentionCall = seen, call: SdpaCall = call) -> None:
            with producer.new_builder() as builder:  # one in 101 is described anew, and checked
                if not serializer.write_alike(place, call, builder, 0, 1):
                    serializer.write(place, seen, builder, 0, 1)

        def memcpy(source: torch.Tensor = source, there: torch.Tensor = there) -> None:
            ctypes.memmove(there.data_ptr(), source.data_ptr(), source.nbytes)

        def by_torch(source: torch.Tensor = source, there: torch.Tensor = there) -> None:
            there.copy_(source)

        times = max(10, min(500, (16 if quick else 512) * 1024 // kib))
        ring, plain, torchs = in_turns(times, into_ring, memcpy, by_torch)
        yield {
            "kib": kib,
            "ring_gb_per_s": nbytes / ring / 1e9,
            "memcpy_gb_per_s": nbytes / plain / 1e9,
            "torch_gb_per_s": nbytes / torchs / 1e9,
            "ratio": plain / ring,
            "ratio_to_torch": torchs / ring,
        }
    producer.abandon()
    theirs.close()


def measured(quick: bool) -> dict[str, Any]:
    times = 100 if quick else 2000
    return {
        "copies": list(copies(quick)),
        "announcing": [announcing(layers, times) for layers in (1, LAYERS)],
        "latency": latencies(times),
        "construction": construction(2 if quick else 20),
        "idle_renderer": idle_renderer(0.5 if quick else 20.0),
        "memory": memory(100 if quick else 10_000),
    }


def report(found: dict[str, Any]) -> None:
    for row in found["copies"]:
        print(
            f"a layer of {row['kib']:6} KiB: ring {row['ring_gb_per_s']:5.1f} GB/s, memcpy "
            f"{row['memcpy_gb_per_s']:5.1f} ({row['ratio']:.2f}), torch "
            f"{row['torch_gb_per_s']:5.1f} ({row['ratio_to_torch']:.2f})"
        )
    for row in found["announcing"]:
        print(
            f"announcing {row['layers']:2} layers: {row['announce_us']:.1f} µs (processor "
            f"{row['announce_cpu_us']:.1f}); multiprocessing.Queue {row['queue_put_us']:.1f} µs "
            f"(processor {row['queue_cpu_us']:.1f}, {row['ratio']:.1f} times ours)"
        )
    for name in ("latency", "construction", "idle_renderer", "memory"):
        values = ", ".join(f"{key} {value:.4g}" for key, value in found[name].items())
        print(f"{name.replace('_', ' ')}: {values}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes, fewer times")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measured(options.quick)
    report(found)
    if options.json:
        found = {"machine": f"{platform.platform()}, torch {torch.__version__}", **found}
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
