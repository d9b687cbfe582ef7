"""What a run ended with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.report.content import Report

if TYPE_CHECKING:
    import polars as pl


class Outcome(msgspec.Struct, frozen=True):
    """What a run ended with."""

    folder: Path
    report: Report
    cached: bool
    """Whether nothing had to be computed."""

    @property
    def checks(self) -> pl.DataFrame:
        """The columns of checks.csv."""
        return self.report.checks

    @property
    def unexpected(self) -> bool:
        """Whether a check came out other than the spec expects."""
        return "unexpected" in self.checks["verdict"].to_list()
