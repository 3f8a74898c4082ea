"""Reads one table file: streamed, only the columns that are wanted, and refused before it could fill the memory."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import polars as pl
import pyarrow.parquet

from shortlist.errors import DataError

_SCANS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    ".parquet": pl.scan_parquet,
    ".csv": pl.scan_csv,
    ".tsv": lambda path: pl.scan_csv(path, separator="\t"),
}
READABLE = tuple(_SCANS)
# What reading, sorting and encoding hold at once, over the plain size of the wanted columns; measured on a marketplace of 2 million events.
_WORKING_COPIES = 3.0


def scan_table(path: Path) -> pl.LazyFrame:
    """The table, not read yet. Raises DataError for a missing, empty or unknown kind of file."""
    if path.suffix not in _SCANS:
        raise DataError(f"{path} is none of {list(READABLE)}", fix="convert it")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", fix="correct the path") from error
    if size == 0:
        raise DataError(f"{path} is empty: it has no header", fix="files are UTF-8 tables with a header")
    return _SCANS[path.suffix](path)


def read_table(path: Path, wanted: Collection[str] | None = None) -> pl.DataFrame:
    """The `wanted` columns that the file has (all without it), read in a stream.

    Raises DataError when the file cannot be read, or when the columns would not fit into the memory that is free now.
    """
    try:
        table = scan_table(path)
        names = table.collect_schema().names()
        kept = [name for name in names if wanted is None or name in wanted]
        _check_memory(path, _plain_size(path, kept, len(names)))
        return table.select(kept).collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}", fix="files are UTF-8 tables with a header") from error


def _plain_size(path: Path, kept: list[str], columns: int) -> float:
    """Bytes of the kept columns without compression: known of Parquet, a proportional share of a text file."""
    if path.suffix != ".parquet":
        return path.stat().st_size * len(kept) / max(1, columns)
    metadata = pyarrow.parquet.read_metadata(path)
    return float(
        sum(
            metadata.row_group(group).column(column).total_uncompressed_size
            for group in range(metadata.num_row_groups)
            for column in range(metadata.num_columns)
            if metadata.row_group(group).column(column).path_in_schema.partition(".")[0] in kept
        )
    )


def _check_memory(path: Path, size: float) -> None:
    free = free_memory()
    needed = size * _WORKING_COPIES
    if needed > free:
        raise DataError(
            f"{path} does not fit into memory",
            why=f"its columns take about {needed / 2**30:.1f} GiB while they are read and encoded, and {free / 2**30:.1f} GiB are free",
            fix="leave out columns, keep fewer users or a shorter time, or use a machine with more memory",
        )


def free_memory() -> float:
    """Bytes that can be used without swapping; infinity where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("inf")
    facts = dict(line.split(":", 1) for line in lines)
    return float(facts["MemAvailable"].split()[0]) * 1024
