"""Frames that come back from the worker: as bytes of Arrow, uncompressed, of plain columns only."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from harness.errors import DataError

if TYPE_CHECKING:
    import polars as pl


def packed(frame: pl.DataFrame) -> bytes:
    """The frame as bytes. Raises DataError for columns that are not plain."""
    _check_plain(frame)
    out = io.BytesIO()
    frame.write_ipc(out, compression="uncompressed")
    return out.getvalue()


def unpacked(content: bytes) -> pl.DataFrame:
    """The frame of some bytes. Raises DataError for columns that are not plain."""
    import polars as pl

    frame = pl.read_ipc(io.BytesIO(content))
    _check_plain(frame)
    return frame


def _check_plain(frame: pl.DataFrame) -> None:
    import polars as pl

    for name, dtype in frame.schema.items():
        if not (dtype.is_numeric() or dtype in (pl.String, pl.Boolean, pl.Enum, pl.Null)):
            raise DataError(f'column "{name}" holds {dtype}, which is neither text nor numbers')
