"""What a report is made from: frames, the spec, and a few facts. Nothing here is computed from states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.contracts.analysis import Analysis
from harness.scoring.said_and_true import Outcome
from harness.spec import Spec

if TYPE_CHECKING:
    import polars as pl


class SummaryLayer(msgspec.Struct, frozen=True):
    """The layer that summaries of one probe show, and the rule that chose it (never the test score)."""

    layer: int | str
    """A layer's number, or `all` for a probe that has no layers."""
    rule: str = ""
    """In words: `best validation accuracy`."""


class Example(msgspec.Struct, frozen=True):
    """A prompt as the network reads it."""

    condition: str
    text: str
    """On one line; of a pair what both members share once, and [one/other] where they differ."""
    right: str
    """The right answer."""
    factors: Mapping[str, str] = {}
    """What else is so of it, by factor."""
    pair: bool = True
    """Whether it is a contrast pair, and no statement."""


class Look(msgspec.Struct, frozen=True):
    """One analysis, and the tables that it made."""

    analysis: Analysis
    tables: Mapping[str, pl.DataFrame]
    """By the name of the file; those that are none of `Analysis.files` are for its section only."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the files of a report are rendered from."""

    spec: Spec
    spec_text: str
    """The YAML as it was read."""
    results: pl.DataFrame
    """fit_on, tested_on, probe, layer, target, metric, value, low, high, n, seeds."""
    seeds: pl.DataFrame
    """The same per seed, with a column `seed`."""
    checks: pl.DataFrame
    """check, probe, condition, finding, expect, verdict, value, low, high, threshold, why."""
    headline: pl.DataFrame | None = None
    """The rows at the summary layers, with intervals of all that varies: see `harness.scoring.tables`."""
    restarts: pl.DataFrame | None = None
    """How the restarts of all seeds spread, by layer and target: see `harness.scoring.tables`; None if no probe has restarts."""
    depth: pl.DataFrame | None = None
    """The earliest informative layer of every probe and target: see `harness.scoring.tables`; None if there are no layers."""
    chances: pl.DataFrame | None = None
    """tested_on, target, chance: where an uninformed answer scores something else on the first metric than that says; None if nowhere."""
    noise: pl.DataFrame | None = None
    """condition, layer, noise: how far arithmetic moves what is read; None where no network computes it."""
    rows: pl.DataFrame | None = None
    """Every scored row at the summary layers; None where the spec keeps none. See `harness.scoring.scored_rows`."""
    example: Example | None = None
    """A prompt, where rows are kept."""
    summary_layers: Mapping[tuple[str, str], SummaryLayer] = {}
    """By (fit_on, probe). A probe with one layer only needs no entry."""
    outcomes: Sequence[Outcome] = ()
    """What probes of classes, numbers or vectors say beside what is true."""
    facts: Sequence[tuple[str, str]] = ()
    """Model, data, split sizes, conventions: name and value, the same in every honest run."""
    findings: Sequence[str] = ()
    """What linting the prompts found, one sentence each."""
    looks: Sequence[Look] = ()
    """What the analyses found that the spec asks for."""
    manifest: Mapping[str, Any] = {}
    """What may differ between two honest runs: see `harness.report.manifest`."""
