"""Writes the table, a run at a time: no run and no table is in memory as a whole."""

import csv
import io
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import IO, Any

from attnmon_renderer.storage import atomic_files
from attnmon_renderer.tables.head_table import COLUMNS, TEXTS, WHOLE_NUMBERS, Row, rows_of_run

ROWS_AT_A_TIME = 50_000


def write_table(runs: Sequence[Path], target: Path, table_format: str) -> int:
    """Write the rows of these runs to a file; return how many there are.

    Raises OSError, and ValueError where a library is missing.
    """
    if table_format == "parquet" and find_spec("pyarrow") is None:
        raise ValueError("parquet needs pyarrow: `pip install pyarrow`, or give --format csv")
    write = _write_parquet if table_format == "parquet" else _write_csv
    rows = (row for run in runs for row in rows_of_run(run))
    with atomic_files.replacing(target) as file:
        return write(rows, file)


def _write_csv(rows: Iterator[Row], file: IO[bytes]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007  # it is the result
        writer.writerow(row)
    text.detach()
    return count


def _write_parquet(rows: Iterator[Row], file: IO[bytes]) -> int:
    arrow: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    kinds = {**dict.fromkeys(COLUMNS, arrow.float64()), **dict.fromkeys(TEXTS, arrow.string()),
             **dict.fromkeys(WHOLE_NUMBERS, arrow.int64())}  # fmt: skip
    schema = arrow.schema(list(kinds.items()))
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while block := list(islice(rows, ROWS_AT_A_TIME)):
            columns = {name: [row.get(name) for row in block] for name in COLUMNS}
            writer.write_table(arrow.table(columns, schema))
            count += len(block)
    return count
