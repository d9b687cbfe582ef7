"""The numbers that a reader is shown first: every method at its summary layer, and what its answers follow.

A method *follows* a factor when its score on it is above chance and apart from its scores on the others; both are
decided by intervals. Nothing here fits or measures: it arranges the rows of results.csv and seeds.csv.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from harness import kind
from harness.contracts import Metric, Probe
from harness.report.content import Report, SummaryLayer
from harness.report.score import Score, apart

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

TRUTH = "truth"
ALL_LAYERS = "all"
NEITHER = "none"
UNCLEAR = "unclear"

Role = Literal["labels", "no labels", "baseline"]


class Summary(msgspec.Struct, frozen=True):
    """One method on one transfer at its summary layer."""

    probe: str
    layer: str
    rule: str
    scores: Mapping[str, Score]
    """By target, truth first."""
    follows: str
    seeds: Mapping[str, int] = {}
    """How many seeds follow what, most frequent first; empty for a method without seeds."""


class Transfer(msgspec.Struct, frozen=True):
    """Fitted on one condition, tested on another (or the same)."""

    fit_on: str
    tested_on: str

    @property
    def title(self) -> str:
        return self.fit_on if self.fit_on == self.tested_on else f"{self.fit_on} → {self.tested_on}"


class Scores:
    """The frames of a report, looked up by transfer, method, target and layer."""

    def __init__(self, report: Report):
        self.report = report
        self._results = _cells(report.results)
        self._seeds = _cells(report.seeds, "seed")

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics that were measured, the spec's order first: the first is the one in tables and figures."""
        wanted = [name for m in self.report.spec.metrics for name in (m.kind(), *m.beside)]
        return _in_order(wanted, self.report.results["metric"].to_list())

    @cached_property
    def headline(self) -> str:
        return self.metrics[0] if self.metrics else "accuracy"

    @cached_property
    def chance(self) -> float | None:
        """Value of an uninformed answer on the headline metric."""
        metric = self._metric(self.headline)
        return None if metric is None else metric.chance

    @cached_property
    def higher_is_better(self) -> bool:
        metric = self._metric(self.headline)
        return metric is None or metric.higher_is_better

    @cached_property
    def transfers(self) -> list[Transfer]:
        wanted = [(t.fit_on, tested) for t in self.report.spec.transfer for tested in t.tested_on]
        pairs = self.report.results.select("fit_on", "tested_on").unique().rows()
        return [Transfer(*pair) for pair in _in_order(wanted, pairs)]

    @cached_property
    def targets(self) -> list[str]:
        return _in_order([TRUTH, *self.report.spec.distractors], self.report.results["target"].to_list())

    @cached_property
    def probes(self) -> list[str]:
        return _in_order(
            [probe_name(p) for p in self.report.spec.probes], self.report.results["probe"].unique().to_list()
        )

    @cached_property
    def seeded(self) -> list[str]:
        """Methods with more than one seed."""
        counts = Counter(probe for probe, _seed in self.report.seeds.select("probe", "seed").unique().rows())
        return [probe for probe in self.probes if counts[probe] > 1]

    def role(self, probe: str) -> Role:
        """What a method learns from; a baseline is the model's own answer or a direction drawn at random."""
        for known in self.report.spec.probes:
            if probe_name(known) == probe:
                if known.reads == "log_odds" or known.kind() == "random":
                    return "baseline"
                return "labels" if known.supervised else "no labels"
        return "no labels"

    def by_layer(self, transfer: Transfer, probe: str, target: str, metric: str | None = None) -> dict[str, Score]:
        """Scores by layer, shallowest first; `all` stands alone."""
        key = (transfer.fit_on, transfer.tested_on, probe, target, metric or self.headline)
        return {layer: cells[0] for layer, cells in self._results.get(key, {}).items()}

    def seeds_by_layer(self, transfer: Transfer, probe: str, target: str) -> dict[str, list[Score]]:
        """Every seed's score by layer, on the headline metric."""
        return self._seeds.get((transfer.fit_on, transfer.tested_on, probe, target, self.headline), {})

    def summary_layer(self, transfer: Transfer, probe: str) -> SummaryLayer | None:
        """The layer that the spec's rule chose; the only one where there is only one; None if nothing was measured."""
        layers: dict[str, None] = {}
        for target in self.targets:
            layers.update(dict.fromkeys(self.by_layer(transfer, probe, target)))
        if chosen := self.report.summary_layers.get((transfer.fit_on, probe)):
            return SummaryLayer(str(chosen.layer), chosen.rule)
        assert len(layers) < 2, f"no summary layer for {probe} fitted on {transfer.fit_on}"
        return SummaryLayer(next(iter(layers)), "") if layers else None

    def summaries(self, transfer: Transfer) -> list[Summary]:
        """One for every method that was measured on this transfer."""
        found = (self._summary(transfer, probe) for probe in self.probes)
        return [summary for summary in found if summary is not None]

    def _summary(self, transfer: Transfer, probe: str) -> Summary | None:
        chosen = self.summary_layer(transfer, probe)
        if chosen is None:
            return None
        layer = str(chosen.layer)
        scores = {t: self.by_layer(transfer, probe, t).get(layer) for t in self.targets}
        known = {target: score for target, score in scores.items() if score is not None}
        if not known:
            return None
        seeds: Counter[str] = Counter()
        if probe in self.seeded:
            by_target = {t: self.seeds_by_layer(transfer, probe, t).get(layer, []) for t in known}
            for values in zip(*by_target.values(), strict=False):
                seeds[self.follows(dict(zip(by_target, values, strict=True)))] += 1
        return Summary(
            probe, layer, chosen.rule, known, self.follows(known), dict(sorted(seeds.items(), key=_frequent))
        )

    def follows(self, scores: Mapping[str, Score]) -> str:
        """`word`, `truth and word`, `none` …; see the module's text. Empty when nothing can be said."""
        if self.chance is None or not all(score.bounded for score in scores.values()):
            return ""
        sign = 1 if self.higher_is_better else -1
        informed = [t for t, s in scores.items() if (s.low if sign > 0 else -s.high) > sign * self.chance]
        if not informed:
            return NEITHER
        best = max(scores, key=lambda target: sign * scores[target].value)
        level = [t for t in scores if t == best or not apart(scores[best], scores[t])]
        return " and ".join(level) if set(level) <= set(informed) else UNCLEAR

    def _metric(self, name: str) -> Metric | type[Metric] | None:
        for metric in self.report.spec.metrics:
            if metric.kind() == name:
                return metric
        try:
            found = kind.find("metrics", name)
        except KeyError:
            return None
        assert issubclass(found, Metric)
        return found


def probe_name(probe: Probe) -> str:
    """The name that a method has in the tables."""
    return probe.name or probe.kind()


def layer_order(layer: str) -> tuple[int, str]:
    """Sorts layers by depth; `all` comes first."""
    return (int(layer), "") if layer.lstrip("-").isdigit() else (-(10**9), layer)


def _cells(frame: pl.DataFrame, *more: str) -> dict[tuple[str, ...], dict[str, list[Score]]]:
    """(fit_on, tested_on, probe, target, metric) → layer → scores, one per seed where the frame has seeds."""
    import polars as pl

    names = ["fit_on", "tested_on", "probe", "target", "metric", "layer", "value", "low", "high", *more]
    floats = pl.col("value", "low", "high").cast(pl.Float64).fill_null(math.nan)
    rows = frame.select(names).with_columns(pl.col("layer").cast(pl.String), floats).rows()
    rows.sort(key=lambda row: (row[:5], layer_order(row[5]), row[9:]))
    cells: dict[tuple[str, ...], dict[str, list[Score]]] = {}
    for row in rows:
        cells.setdefault(row[:5], {}).setdefault(row[5], []).append(Score(*row[6:9]))
    return cells


def _in_order(wanted: Sequence[T], present: Iterable[T]) -> list[T]:
    """What is present, each once: the wanted order first, then whatever else there is, sorted."""
    there = set(present)
    return [*dict.fromkeys(w for w in wanted if w in there), *sorted(there - set(wanted))]  # type: ignore[type-var]


def _frequent(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
