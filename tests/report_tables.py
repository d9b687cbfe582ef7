"""The tables that lie beside a report, as the program has them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from harness.scoring.tables import untyped


def full_table(folder: Path, name: str) -> pl.DataFrame:
    """A table by its name, layers as text."""
    found = pl.read_parquet(folder / f"{name}.parquet")
    # In that one, a layer is what was found.
    return found if name == "depth" else untyped(found)
