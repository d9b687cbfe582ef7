"""A first look at data files, for what can be said better before they are read (`harness.data._examples`)."""

from __future__ import annotations

from pathlib import Path

from harness.errors import DataError
from harness.untrusted.files import is_hollow

LARGEST_BYTES = 16 * 2**30
"""A larger file is split by whoever made it; this program keeps the columns that it needs in memory."""
MOST_COLUMNS = 10_000

# What polars takes for compressed: gzip, zlib at three levels, zstd.
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x9c", b"\x78\xda", b"\x28\xb5\x2f\xfd")


def check_file(path: Path, name: str) -> None:
    """Raises DataError for a file that is too large, or compressed text."""
    if path.stat().st_size > LARGEST_BYTES:
        raise DataError(f"{name}: larger than {LARGEST_BYTES >> 30} GiB; name a part of it")
    if is_hollow(path):
        raise DataError(f"{name}: a file of holes, with nothing written in most of it; get it again")
    with path.open("rb") as file:
        if path.suffix.lower() != ".parquet" and file.read(4).startswith(_COMPRESSED):
            raise DataError(
                f"{name}: it is compressed; unpack it, so that its size can be seen, or convert it to parquet"
            )
