"""Data files that are small on disk and large in memory, refused before they are read.

Polars unpacks compressed text without being asked. A parquet file of a kilobyte can repeat one long text a million times.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import DataError

if TYPE_CHECKING:
    import polars as pl

LARGEST_BYTES = 16 * 2**30
"""A larger file is split by whoever made it; this program keeps the columns that it needs in memory."""
MOST_ROWS = 50_000_000
MOST_CELLS_BYTES = 4 * 2**30
"""Text in the columns that are needed, written out."""
LONGEST_BYTES = 4_000_000
"""One cell: a million characters of four bytes each."""
MOST_COLUMNS = 10_000

# What polars takes for compressed: gzip, zlib at three levels, zstd.
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x9c", b"\x78\xda", b"\x28\xb5\x2f\xfd")


def check_file(path: Path, name: str) -> None:
    """Raises DataError for a file that is too large, or compressed text."""
    if path.stat().st_size > LARGEST_BYTES:
        raise DataError(f"{name}: larger than {LARGEST_BYTES >> 30} GiB; name a part of it")
    with path.open("rb") as file:
        if path.suffix.lower() != ".parquet" and file.read(4).startswith(_COMPRESSED):
            raise DataError(
                f"{name}: it is compressed; unpack it, so that its size can be seen, or convert it to parquet"
            )


def check_parquet(table: pl.LazyFrame, columns: Sequence[str], name: str) -> int:
    """The number of rows. Raises DataError for more rows or text than fit into memory, PolarsError for a damaged file."""
    import polars as pl

    count: int = table.select(pl.len()).collect().item()
    if count > MOST_ROWS:
        raise DataError(f"{name}: {count:,} rows, and {MOST_ROWS:,} are allowed; name a part of it")
    schema = table.collect_schema()
    texts = [name for name in columns if name in schema and schema[name] in (pl.String, pl.Categorical, pl.Enum)]
    if not texts:
        return count
    # A category is measured once: as text, each of its rows would be a copy of it.
    lengths = [
        pl.col(name).str.len_bytes() if schema[name] == pl.String else pl.col(name).cat.len_bytes() for name in texts
    ]
    measures = [length.max().alias(f"max {i}") for i, length in enumerate(lengths)]
    measures += [length.cast(pl.UInt64).sum().alias(f"sum {i}") for i, length in enumerate(lengths)]
    found = table.select(measures).collect(engine="streaming").row(0)
    longest, total = max(n or 0 for n in found[: len(texts)]), sum(n or 0 for n in found[len(texts) :])
    if longest > LONGEST_BYTES:
        raise DataError(f"{name}: a text is longer than {LONGEST_BYTES:,} bytes; shorten it")
    if total > MOST_CELLS_BYTES:
        raise DataError(f"{name}: its text is {total >> 30} GiB written out; name fewer columns, or a part of it")
    return count
