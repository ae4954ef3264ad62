"""Write the statistics of many runs as one table: a row for each head of each capture.

For questions over hundreds of runs, asked with DuckDB, pandas or polars. Parquet needs pyarrow;
CSV needs nothing. The exit code is 0, or 2 when there is no run to read.
"""

import argparse
import sys
from pathlib import Path

from attnmon_renderer.commands.bucket_places import place, reads_buckets
from attnmon_renderer.mirror.remote_folders import is_account
from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.run_reader import NoRun
from attnmon_renderer.terminal import counted, harmless


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("directory", metavar="DIR", type=place, nargs="+",
        help="runs, directories above them, or URLs of mirrors")  # fmt: skip
    add("--format", choices=("parquet", "csv"), default="parquet", help="default: parquet")
    add("-o", "--out", metavar="FILE", type=Path, help="default: attnmon.parquet or attnmon.csv")


@reads_buckets("export", "directory", wanted=is_account)
def run(arguments: argparse.Namespace) -> int:
    from attnmon_renderer.tables.head_table import runs_to_read
    from attnmon_renderer.tables.table_files import write_table

    target = arguments.out or Path(f"attnmon.{arguments.format}")
    try:
        runs = runs_to_read([regular_files.resolved(each) for each in arguments.directory])
        folder = regular_files.resolved(target.parent)
        regular_files.refuse_to_make_top_folder(folder)
        rows = write_table(runs, folder / target.name, arguments.format)
    except (NoRun, OSError, ValueError) as error:
        print(f"attnmon export: {harmless(error)}", file=sys.stderr)
        return 2
    print(f"{harmless(target)}: {counted(rows, 'row')} of {counted(len(runs), 'run')}")
    return 0
