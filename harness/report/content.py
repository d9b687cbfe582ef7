"""What a report is made from: frames, the spec, and a few facts. Nothing here is computed from states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.asking import AnswerCost
from harness.spec import Spec

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from harness.autopsy.tables import Autopsies
    from harness.geometry.tables import Geometry


class SummaryLayer(msgspec.Struct, frozen=True):
    """The layer that summaries of one probe show, and the rule that chose it (never the test score)."""

    layer: int | str
    """A layer's number, or `all` for a probe that has no layers."""
    rule: str = ""
    """In words: `best validation accuracy`."""


class Scatter(msgspec.Struct, frozen=True):
    """Rows in the plane of their states' first principal components, at one layer."""

    coordinates: np.ndarray
    """(row, 2) or (row, 3)."""
    labels: Mapping[str, Sequence[str]]
    """For each factor, truth first, the class of every row."""
    layer: str = ""


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
    restarts: pl.DataFrame | None = None
    """How the restarts of all seeds spread, by layer and target: see `harness.tables`; None if no probe has restarts."""
    depth: pl.DataFrame | None = None
    """The earliest informative layer of every probe and target: see `harness.tables`; None if there are no layers."""
    samples: pl.DataFrame | None = None
    """The score by the number of training pairs: see `harness.tables`; None if the spec asks for no curves."""
    summary_layers: Mapping[tuple[str, str], SummaryLayer] = {}
    """By (fit_on, probe). A probe with one layer only needs no entry."""
    facts: Sequence[tuple[str, str]] = ()
    """Model, data, split sizes, conventions: name and value, the same in every honest run."""
    costs: Sequence[AnswerCost] = ()
    """What one answer costs, by condition and method; empty where there is no leaderboard."""
    findings: Sequence[str] = ()
    """What linting the prompts found, one sentence each."""
    states: Mapping[str, Scatter] = {}
    """By condition; empty if no picture of the states is wanted."""
    autopsies: Autopsies | None = None
    """What probes latched on to; None if the spec asks for none."""
    interventions: pl.DataFrame | None = None
    """What became of the network's own answer once states were altered: see `harness.interventions.tables`; None if none were."""
    geometry: Geometry | None = None
    """How directions lie to each other and what makes them vary; None if the spec does not ask."""
    manifest: Mapping[str, Any] = {}
    """What may differ between two honest runs: see `harness.report.manifest`."""
