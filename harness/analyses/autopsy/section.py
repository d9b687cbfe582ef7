"""The section of report.md about what probes latched on to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.analyses.autopsy import autopsy_text
from harness.report.markup import folded, table
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl


def section(solutions: pl.DataFrame, features: pl.DataFrame, rows: pl.DataFrame) -> Iterable[str]:
    """The section, from the three tables of the autopsies."""
    yield "## What the probes latched on to"
    yield plain.markdown(autopsy_text.HOW_TO_READ)
    for probe in autopsy_text.texts_of(*(frame.to_dicts() for frame in (solutions, features, rows))):
        yield f"### {plain.markdown(probe.title)}"
        yield plain.markdown(probe.lead)
        yield "\n".join(f"- {_latched(solution)}" for solution in probe.solutions)
        if probe.rest:
            yield plain.markdown(probe.rest)
        for number, solution in enumerate(probe.solutions, 1):
            yield from _evidence_of(solution, f"solution {number}: " if len(probe.solutions) > 1 else "")


def _latched(solution: autopsy_text.SolutionText) -> str:
    seeds = f" ({plain.markdown(solution.seeds)})" if solution.seeds else ""
    return f"**{plain.markdown(solution.name)}**{seeds}. {plain.markdown(' '.join(solution.sentences))}"


def _evidence_of(solution: autopsy_text.SolutionText, which: str) -> Iterable[str]:
    name = plain.markdown(solution.name)
    if solution.features:
        cells = [[plain.markdown(cell) for cell in row] for row in solution.features]
        yield folded(
            f"{which}strongest features ({name})",
            table(("feature", "association", "p", "the same on these rows"), cells),
        )
    if solution.rows:
        cells = [[plain.markdown(cell) for cell in row] for row in solution.rows]
        yield folded(
            f"{which}the rows that it is surest of, and most wrong about ({name})",
            table(("", "score", "answer", "right answer", "text"), cells),
        )
