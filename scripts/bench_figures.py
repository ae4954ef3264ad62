"""What a figure costs, against plain matplotlib with the same content at the same size.

    python scripts/bench_figures.py [--quick] [--once] [--json FILE]

CPU time of one thread, best of several. Plain matplotlib is `subplots`, `imshow`, `colorbar` and
`savefig` as one writes them. Pixels are compared with matplotlib's drawing of the same page, with
every label in the same place.
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchlib.figure_cases import Case, cases
from benchlib.one_thread import run_on_one_thread
from PIL import Image

from attnmon_renderer.drawing import Page, Png, render_png
from attnmon_renderer.drawing.backends.matplotlib_reference import matplotlib_figure
from attnmon_renderer.drawing.text.rc_defaults import matplotlib_defaults


class Row(NamedTuple):
    """One line of the result; names and units are those of the JSON."""

    figure: str
    naive_ms: float
    ours_ms: float
    ratio: float
    bytes: int
    differing_pixels: int


def cpu_milliseconds(draw: Callable[[], object], times: int) -> float:
    """Return the least CPU time of several calls; the first fills caches."""
    best = float("inf")
    for _ in range(times):
        start = time.process_time()
        draw()
        best = min(best, time.process_time() - start)
    return 1000 * best


def differing_pixels(png: Png, page: Page) -> int:
    """Return how many pixels of the PNG differ from matplotlib's drawing of the page."""
    with matplotlib_defaults():
        figure = matplotlib_figure(page)
        figure.canvas.draw()
        expected = np.asarray(figure.canvas.buffer_rgba())[:, :, :3]  # type: ignore[attr-defined]
    with Image.open(io.BytesIO(png.data)) as image:
        return int((np.asarray(image.convert("RGB")) != expected).any(axis=2).sum())


def measure(case: Case, naive_times: int, our_times: int) -> Row:
    page = case.page()
    png = render_png(page)
    naive_ms = cpu_milliseconds(lambda: case.naive(page), naive_times)
    ours_ms = cpu_milliseconds(lambda: render_png(case.page()), our_times)
    differing = differing_pixels(png, page)
    return Row(case.name, naive_ms, ours_ms, naive_ms / ours_ms, len(png.data), differing)


def table_row(row: Row, page: Page) -> str:
    return (
        f"{row.figure:32} {f'{page.width} × {page.height}':>11} {row.naive_ms:8.0f} ms "
        f"{row.ours_ms:6.1f} ms {row.ratio:5.0f}× {row.bytes:8,} {row.differing_pixels:6}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes, fewer times")
    parser.add_argument("--once", action="store_true", help="each once, to see whether it runs")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results there as well")
    options = parser.parse_args()
    times = (1, 1) if options.once else (2, 6) if options.quick else (10, 46)
    run_on_one_thread()
    print(f"{'picture':32} {'pixels':>11} {'matplotlib':>11} {'here':>9}  ratio    bytes  differ")
    rows = []
    for case in cases(options.quick):
        row = measure(case, *times)
        rows.append(row._asdict())
        print(table_row(row, case.page()), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
