"""Put a run into one HTML file, to keep or to send: it opens without network.

It holds the accounts and alarms, curves of loss and entropy, the pictures with a slider over the
steps, and the last statistics. The exit code is 0, or 2 when there is no run in the directory.
"""

import argparse
import sys
from pathlib import Path

from attnmon_renderer.commands.bucket_places import place, reads_buckets
from attnmon_renderer.mirror.remote_folders import is_not_raw
from attnmon_renderer.storage import atomic_files, regular_files
from attnmon_renderer.storage.run_reader import NoRun
from attnmon_renderer.terminal import harmless

SHOWN_DAMAGES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("directory", metavar="DIR", type=place, help="the monitor's save_dir, or a mirror's URL")
    add(
        "-o", "--out", metavar="FILE", type=Path, help="default: DIR/report.html; of a mirror, here"
    )
    add("--pictures", metavar="DIR2", type=Path, help="take them from here, such as DIR/rendered")
    add("--max-steps", metavar="N", type=_count, default=50, help="with pictures (default: 50)")
    megabytes = "of maps and pictures (default: 56)"
    add("--max-megabytes", metavar="M", type=_count, default=56, help=megabytes)
    add("--title", metavar="TEXT", help="default: the directory's name")


@reads_buckets("report", "directory", wanted=is_not_raw)
def run(arguments: argparse.Namespace) -> int:
    from attnmon_renderer.report.gather import gather_report_data
    from attnmon_renderer.report.html import render_report

    directory = regular_files.resolved(arguments.directory)
    try:
        data = gather_report_data(
            directory,
            regular_files.resolved(arguments.pictures or directory),
            arguments.max_steps,
            arguments.max_megabytes * 10**6,  # base64 takes what better compression saves
        )
        title = arguments.title or arguments.directory.absolute().name
        document = render_report(data, title).encode()
        beside = Path() if arguments.is_copy else directory
        target = arguments.out or beside / "report.html"
        folder = regular_files.resolved(target.parent)
        regular_files.refuse_to_make_top_folder(folder)
        atomic_files.remove_orphans(folder)
        atomic_files.replace(folder / target.name, document)
    except (NoRun, OSError) as error:
        print(f"attnmon report: {harmless(error)}", file=sys.stderr)
        return 2
    size = len(document) / 10**6
    maps = f"maps of {len(data.maps.steps)} of {data.maps.found} steps, " if data.maps.found else ""
    pictures = f"{len(data.steps)} of {data.steps_with_pictures} steps"
    if maps:
        pictures = f"pictures of {pictures}" if data.steps else "no other pictures"
    print(f"{harmless(target)}: {maps}{pictures}, {size:.1f} MB")
    for damage in data.damages[:SHOWN_DAMAGES]:
        print(f"attnmon report: {harmless(damage)}", file=sys.stderr)
    if len(data.damages) > SHOWN_DAMAGES:
        print(f"attnmon report: and {len(data.damages) - SHOWN_DAMAGES} more", file=sys.stderr)
    for below in data.run.runs_below():
        print(f"not in it, a run of its own: {harmless(below)}")
    return 0


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text}: give 1 or more")
    return count
