"""Say what differs between two runs, or between two groups of runs.

It compares settings, curves, the statistics of every head, and maps where both show the same text
(give the monitors the same probe=). With two groups, such as four seeds of each of two settings, it
tests whether they differ by more than runs of one group do. The exit code is 0, 1 when the
difference is larger than --fail-above, or 2 when the runs are not comparable.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from attnmon_renderer.commands.bucket_places import place, reads_buckets
from attnmon_renderer.mirror.remote_folders import is_not_raw
from attnmon_renderer.storage import atomic_files, regular_files
from attnmon_renderer.storage.run_reader import NoRun
from attnmon_renderer.terminal import harmless

if TYPE_CHECKING:
    from attnmon_renderer.compare.findings import Comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("runs", metavar="DIR", type=place, nargs="*",
        help="two runs: the save_dir of each monitor, or a mirror's URL")  # fmt: skip
    add("--group", metavar="DIR", type=place, nargs="+", action="append", default=[],
        help="the runs of one group; give it twice")  # fmt: skip
    add("--align", choices=("step", "loss", "end"), default="step",
        help="which captures belong together (default: those of the same step)")  # fmt: skip
    add("--at", metavar="X", type=float,
        help="compare at this step, this loss, or so many steps before the end")  # fmt: skip
    add("--json", action="store_true", help="print all that was found as JSON")
    add("-o", "--out", metavar="FILE.html", type=Path, help="write it as one HTML file")
    add("--fail-above", metavar="X", type=float,
        help="exit with 1 if the difference is more than X times the runs' own wobble, or of "
        "groups, if it explains more than this share of the variance")  # fmt: skip


@reads_buckets("compare", "runs", "group", wanted=is_not_raw)
def run(arguments: argparse.Namespace) -> int:
    from attnmon_renderer.compare.comparison import compare_runs
    from attnmon_renderer.compare.comparison_text import lines_of
    from attnmon_renderer.compare.group_comparison import compare_groups
    from attnmon_renderer.compare.verdicts import NOT_COMPARABLE

    runs = [regular_files.resolved(each) for each in arguments.runs]
    groups = [[regular_files.resolved(each) for each in group] for group in arguments.group]
    try:
        if len(groups) == 2 and not runs:
            found = compare_groups(groups[0], groups[1], arguments.align, arguments.at)
        elif len(runs) == 2 and not groups:
            found = compare_runs(runs[0], runs[1], arguments.align, arguments.at)
        else:
            raise ValueError("give two runs, or --group twice")
    except (NoRun, ValueError) as error:
        print(f"attnmon compare: {harmless(error)}", file=sys.stderr)
        return 2
    if arguments.out is not None and not _write_page(found, arguments.out):
        return 2
    if arguments.json:
        print(json.dumps(found.to_json(), allow_nan=False))
    else:
        print("\n".join(map(harmless, lines_of(found))))
    if found.verdict == NOT_COMPARABLE:
        return 2
    return int(arguments.fail_above is not None and found.exceeds(arguments.fail_above))


def _write_page(found: "Comparison", out: Path) -> bool:
    from attnmon_renderer.compare.page.comparison_page import comparison_page
    from attnmon_renderer.maps.maps_header import BadMaps

    place = regular_files.resolved(out.parent)
    try:
        regular_files.refuse_to_make_top_folder(place)
        atomic_files.replace(place / out.name, comparison_page(found).encode())
    except (OSError, BadMaps) as error:
        print(f"attnmon compare: {harmless(error)}", file=sys.stderr)
        return False
    print(f"written to {harmless(out)}", file=sys.stderr)
    return True
