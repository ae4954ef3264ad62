"""Tell what summing up a layer on a CUDA device sends and takes; without one, only the bytes.

    python scripts/bench_device.py [--quick] [--json FILE]

Against query and key in bytes, and against materialised weights in time and memory of the device.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from benchlib import device_layers
from benchlib.device_layers import (
    PICTURE,
    SIDE,
    layer_on,
    materialised,
    median_ms,
    peak_bytes,
    survey,
)

from attnmon.device.kernel_support import division
from attnmon.device.survey_grid import SurveyGrid

SHAPES = ((12, 1024, 64), (32, 4096, 128), (32, 8192, 128), (32, 32768, 128))
LARGEST_DENSE = 2**31
"""Weights that are materialised at most: in float32 they take three times 8 GiB."""


def bytes_of(heads: int, positions: int, width: int) -> dict[str, Any]:
    """Return what is sent of a causal layer in bfloat16."""
    layer = layer_on("meta", heads, positions, width, torch.bfloat16)
    grids = {
        "with_picture": SurveyGrid.of(layer, SIDE, PICTURE),
        "with_map": SurveyGrid.of(layer, SIDE),
        "without_map": SurveyGrid.of(layer, None),
    }
    divided = {name: division(layer, grid) for name, grid in grids.items()}
    return {
        "heads": heads,
        "positions": positions,
        "width": width,
        "query_and_key": layer.nbytes,
        **{name: divided[name].bytes_sent(grid) for name, grid in grids.items()},
        "heads_at_once": divided["with_picture"].at_once,
    }


def times_of(heads: int, positions: int, width: int) -> dict[str, Any]:
    """Return what a layer takes on the device, summed up and with its weights materialised."""
    layer = layer_on("cuda", heads, positions, width, torch.bfloat16)
    scratch = device_layers.new_scratch("cuda")
    found = {
        "ms": median_ms(lambda: list(survey(layer, scratch))),
        "peak_bytes": peak_bytes(lambda: list(survey(layer, scratch))) + scratch.nbytes,
    }
    if heads * positions**2 <= LARGEST_DENSE:
        found["dense_ms"] = median_ms(lambda: materialised(layer), 3)
        found["dense_peak_bytes"] = peak_bytes(lambda: materialised(layer))
    return found


def timed(heads: int, positions: int, width: int) -> dict[str, Any]:
    """Return the times, or the error that there was instead."""
    try:
        return times_of(heads, positions, width)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="two shapes only")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    has_device = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if has_device else "no CUDA device: nothing is timed"
    print(f"{device}, torch {torch.__version__}")
    rows: list[dict[str, Any]] = []
    for shape in SHAPES[1:3] if options.quick else SHAPES:
        row = bytes_of(*shape) | (timed(*shape) if has_device else {})
        rows.append(row)
        if options.json:  # one by one: the next shape may not fit
            options.json.write_text(json.dumps({"device": device, "rows": rows}, indent=2) + "\n")
        share = row["query_and_key"] / row["with_picture"]
        line = f"{shape[0]} heads × {shape[1]:6,}: {row['query_and_key'] / 1e6:6.1f} MB of query "
        line += f"and key, {row['with_picture'] / 1e6:.2f} MB with a picture (1/{share:.0f}), "
        line += f"{row['with_map'] / 1e6:.2f} with its maps alone, "
        line += f"{row['without_map'] / 1e6:.2f} without"
        if "ms" in row:
            line += f"; {row['ms']:.2f} ms, {row['peak_bytes'] / 1e6:.1f} MB on the device"
        if "dense_ms" in row:
            line += f"; materialised {row['dense_ms']:.1f} ms, "
            line += f"{row['dense_peak_bytes'] / 1e6:,.0f} MB"
        print(line + (f"; {row['error']}" if "error" in row else ""), flush=True)


if __name__ == "__main__":
    main()
