"""A written report as polars frames, each read when it is first asked for."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

SEEDS = ("seeds.parquet", "seeds.csv")
"""Files that a report may keep the scores of each seed in, the first that is there counts."""

WHOLE = ("layer", "n", "seeds", "seed")
"""Columns of whole numbers; a layer is missing where a method has none of its own."""

SHOWN = 40
"""Rows of a table in a notebook."""


class Report:
    """A report: results, checks, seeds and rows as polars frames, and where they come from."""

    def __init__(self, place: str):
        """`place` is a folder, or REVISION:FOLDER in git. Raises UsageError if there is no report."""
        from harness.report.compare.source import reader

        self.place = place
        self._read = reader(place)
        # Read at once, so that a wrong name is complained about where it stands.
        self.manifest: Mapping[str, Any] = self._manifest()
        """What may differ between two honest runs: versions, hardware, the run that made each stage."""

    @property
    def name(self) -> str:
        """The spec's name."""
        return str(self.manifest.get("report", {}).get("name") or Path(self.place.rpartition(":")[2]).name)

    @property
    def text(self) -> str:
        """report.md."""
        return self._read("report.md").decode("utf-8", "replace")

    @cached_property
    def results(self) -> pl.DataFrame:
        """fit_on, tested_on, probe, layer, target, metric, value, low, high, n, seeds: a score each, with its 95 % interval."""
        return self._table("results.csv")

    @cached_property
    def checks(self) -> pl.DataFrame:
        """check, probe, condition, finding, expect, verdict, value, low, high, threshold, why: a claim each, and what came of it."""
        return self._table("checks.csv")

    @cached_property
    def seeds(self) -> pl.DataFrame | None:
        """The results of each seed, with a column `seed`; None where the report's folder has them not."""
        return self._first_of(SEEDS)

    @cached_property
    def rows(self) -> pl.DataFrame | None:
        """The rows that were scored, with what each probe said; None where the report's folder has them not."""
        return self._first_of(("rows.parquet",))

    @property
    def unexpected(self) -> bool:
        """Whether a check came out other than the spec expects."""
        return "unexpected" in self.checks["verdict"].to_list()

    def __repr__(self) -> str:
        said = f"{self.checks.height} checks" + (", not all as expected" if self.unexpected else "")
        return f"<Report {self.name}: {self.results.height:,} results, {said}; {self.place}>"

    def _repr_html_(self) -> str:
        checks = self.checks.select("check", "probe", "condition", "finding", "verdict", "value", "low", "high")
        about = self.manifest.get("report", {}).get("about") or ""
        head = f"<h3>{html.escape(self.name)}</h3><p>{html.escape(str(about))}</p>"
        return head + as_html(checks) + as_html(self._at_summary_layers())

    def _at_summary_layers(self) -> pl.DataFrame:
        """The scores for the truth at the layers that the report's own rule chose."""
        import polars as pl

        from harness.report.outline import from_manifest

        chosen = {(one.fit_on, one.probe, one.layer) for one in from_manifest(self.manifest, self.name).layers}
        results = self.results.filter(pl.col("target") == "truth")
        kept = [
            row["layer"] is None or (row["fit_on"], row["probe"], str(row["layer"])) in chosen
            for row in results.iter_rows(named=True)
        ]
        shown = ("fit_on", "tested_on", "probe", "layer", "metric", "value", "low", "high", "n")
        return results.filter(pl.Series(kept, dtype=pl.Boolean)).select(shown)

    def _manifest(self) -> Mapping[str, Any]:
        try:
            found = json.loads(self._read("manifest.json"))
        except ValueError as error:
            raise UsageError(f"{self.place}/manifest.json is no JSON ({error}); make the report again") from error
        if not isinstance(found, dict):
            raise UsageError(f"{self.place}/manifest.json is no manifest; make the report again")
        return found

    def _first_of(self, names: Sequence[str]) -> pl.DataFrame | None:
        """The first of some tables that the folder has. Such tables are not committed, so that no revision has them."""
        folder = Path(self.place)
        return next((self._table(name) for name in names if (folder / name).is_file()), None)

    def _table(self, name: str) -> pl.DataFrame:
        import polars as pl

        from harness.report.read import NUMBERS

        content = self._read(name)
        try:
            if name.endswith(".parquet"):
                return pl.read_parquet(io.BytesIO(content))
            table = pl.read_csv(content, infer_schema_length=0)
            # A method that reads all layers at once has a word there in older reports.
            whole = [pl.col(c).cast(pl.Int64, strict=c != "layer") for c in table.columns if c in WHOLE]
            numbers = [pl.col(c).cast(pl.Float64) for c in table.columns if c in NUMBERS and c not in WHOLE]
            return table.with_columns(*whole, *numbers)
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise UsageError(
                f"{self.place}/{name} is no table of a report ({reason}); make the report again"
            ) from error


def load(report: str | Path) -> Report:
    """The report in a folder, or REVISION:FOLDER in git. Raises UsageError if there is none."""
    return Report(str(report))


def as_html(table: pl.DataFrame) -> str:
    """A table for a notebook; what strangers wrote is text in it."""
    cells = [[_cell(value) for value in row] for row in table.head(SHOWN).iter_rows()]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in cells)
    more = f"<p>{table.height - SHOWN:,} more rows</p>" if table.height > SHOWN else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else html.escape(str(value))
