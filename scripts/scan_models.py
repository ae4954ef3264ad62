"""Try the monitor on every architecture that can be found here, and judge each map by oracles.

    python scripts/scan_models.py [--only PATTERN] [--limit N] [--jobs N] [--json FILE [--resume]]
                                  [--write-docs]

Each architecture is built tiny and with random weights, and captured in its own forward and in an
extra one, from a batch of 3 samples. Then it is trained with and without a monitor. Nothing is
downloaded.
"""

import argparse
import logging
import re
import signal
import sys
import warnings
from pathlib import Path

import torch
from scanlib import document
from scanlib.libraries.catalogue import architectures
from scanlib.report import line, summary
from scanlib.results import Results
from scanlib.workers import results, shared_renderer


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="a regular expression of names"
    )
    parser.add_argument("--limit", metavar="N", type=int, help="no more than so many")
    parser.add_argument(
        "--jobs", metavar="N", type=int, default=1, help="so many at a time (default: 1)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write each result there at once")
    parser.add_argument("--resume", action="store_true", help="leave out what the file has already")
    parser.add_argument("--write-docs", action="store_true", help="renew docs/models.md")
    return parser.parse_args()


def main() -> int:
    options = parsed()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the renderer is ended too
    stored = Results(options.json, resume=options.resume)
    chosen = [each for each in architectures() if re.search(options.only, each.name)]
    wanted = [each for each in chosen if each.name not in stored.found][: options.limit]
    with shared_renderer() as renderer:
        for name, result, seconds in results(iter(wanted), renderer, options.jobs):
            stored.add(name, result, seconds)
            print(line(name, result, seconds), flush=True)
    print(summary(stored.found))
    if options.write_docs:
        document.write(stored.found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
