"""The numbers that a reader is shown first: every method at its summary layer, and what its answers follow.

A method *follows* a factor when its score on it is above chance and apart from its scores on the others; both are
decided by intervals. Nothing here fits or measures: it arranges the rows of results.csv and seeds.csv.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from harness.report.intervals import Score, apart
from harness.report.outline import Outline, Role
from harness.scoring.noise_floor import NoiseFloor
from harness.scoring.said_and_true import Outcome

if TYPE_CHECKING:
    import polars as pl

NEITHER = "none"
UNCLEAR = "unclear"

Key = tuple[str, str, str, str, str]
"""fit_on, tested_on, probe, target, metric."""


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
    """The numbers of a report, looked up by transfer, method, target and layer."""

    def __init__(
        self,
        outline: Outline,
        results: pl.DataFrame,
        seeds: pl.DataFrame,
        headline: pl.DataFrame | None = None,
        noise: NoiseFloor | None = None,
        outcomes: Sequence[Outcome] = (),
    ):
        """The columns of `headline` are those of results.csv; without it, intervals at the summary layers are those of
        `results`, in which the training sample is none that varies."""
        self.outline = outline
        self.noise = noise or NoiseFloor()
        """How far arithmetic moves what the methods read."""
        self.outcomes = outcomes
        """What probes of classes, numbers or vectors say beside what is true."""
        self.metrics = [metric.name for metric in outline.metrics]
        self.transfers = [Transfer(*pair) for pair in outline.transfers]
        self.targets = list(outline.targets)
        self.probes = [probe.name for probe in outline.probes]
        self._layers = {(chosen.fit_on, chosen.probe): chosen for chosen in outline.layers}
        self._probes = {probe.name: probe for probe in outline.probes}
        self.results = results
        self._results = _cells(results)
        self.each_seed = seeds
        self._headline = {} if headline is None or headline.is_empty() else _cells(headline)
        self.covers = {} if headline is None else covered(headline)
        """By (fit_on, probe): which sources of chance the intervals at the summary layer cover."""

    @cached_property
    def _seeds(self) -> dict[Key, dict[str, list[Score]]]:
        """By `Key`, then by layer: one score for each seed. Not every figure looks at them, and there are many."""
        return _cells(self.each_seed, "seed", metric=self.headline)

    @property
    def headline(self) -> str:
        """The metric in tables and figures."""
        return self.metrics[0] if self.metrics else "accuracy"

    @property
    def chance(self) -> float | None:
        """Value of an uninformed answer on the headline metric."""
        return self.outline.metrics[0].chance if self.metrics else None

    @cached_property
    def _chances(self) -> Mapping[tuple[str, str], float]:
        return {(tested_on, target): chance for tested_on, target, chance in self.outline.chances}

    def chance_of(self, tested_on: str, target: str) -> float | None:
        """Value of an uninformed answer about one target of one condition."""
        return self._chances.get((tested_on, target), self.chance)

    def chances(self, tested_on: str, targets: Iterable[str]) -> list[float]:
        """Values of uninformed answers about some targets, each once, rising."""
        found = {self.chance_of(tested_on, target) for target in targets}
        return sorted(chance for chance in found if chance is not None)

    @property
    def higher_is_better(self) -> bool:
        return not self.metrics or self.outline.metrics[0].higher_is_better

    @cached_property
    def seeded(self) -> list[str]:
        """Methods with more than one seed."""
        most: Counter[str] = Counter()
        for key, layers in self._seeds.items():
            most[key[2]] = max(most[key[2]], *map(len, layers.values()))
        return [probe for probe in self.probes if most[probe] > 1]

    def role(self, probe: str) -> Role:
        return self._probes[probe].role

    def learns_from(self, probe: str) -> str:
        """Its role and, where that is not the truth, what its labels were of."""
        return self._probes[probe].learns_from

    def by_layer(self, transfer: Transfer, probe: str, target: str, metric: str | None = None) -> dict[str, Score]:
        """Scores by layer, shallowest first; `all` stands alone."""
        key = (transfer.fit_on, transfer.tested_on, probe, target, metric or self.headline)
        return {layer: cells[0] for layer, cells in self._results.get(key, {}).items()}

    def headline_score(
        self, transfer: Transfer, probe: str, target: str, layer: str | None, metric: str | None = None
    ) -> Score | None:
        """The score at the summary layer, with the interval of all that varies where there is one."""
        key = (transfer.fit_on, transfer.tested_on, probe, target, metric or self.headline)
        whole = self._headline.get(key, {}).get(layer or "")
        return whole[0] if whole else self.by_layer(transfer, probe, target, metric).get(layer or "")

    def seeds_by_layer(self, transfer: Transfer, probe: str, target: str) -> dict[str, list[Score]]:
        """Every seed's score by layer, on the headline metric."""
        return self._seeds.get((transfer.fit_on, transfer.tested_on, probe, target, self.headline), {})

    def summary_layer(self, transfer: Transfer, probe: str) -> str | None:
        """The layer that the spec's rule chose; the only one where there is only one; None if there is neither."""
        found = (self.by_layer(transfer, probe, target, metric) for target in self.targets for metric in self.metrics)
        layers = dict.fromkeys(layer for cells in found for layer in cells)
        if chosen := self._layers.get((transfer.fit_on, probe)):
            return chosen.layer if chosen.layer in layers else None
        return next(iter(layers)) if len(layers) == 1 else None

    def summaries(self, transfer: Transfer) -> list[Summary]:
        """One for every method that was measured on this transfer."""
        found = (self._summary(transfer, probe) for probe in self.probes)
        return [summary for summary in found if summary is not None]

    def _summary(self, transfer: Transfer, probe: str) -> Summary | None:
        layer = self.summary_layer(transfer, probe)
        if layer is None:
            return None
        chosen = self._layers.get((transfer.fit_on, probe))
        scores = {t: self.headline_score(transfer, probe, t, layer) for t in self.targets}
        known = {target: score for target, score in scores.items() if score is not None}
        if not known:
            return None
        seeds: Counter[str] = Counter()
        if probe in self.seeded:
            by_target = {t: self.seeds_by_layer(transfer, probe, t).get(layer, []) for t in known}
            for values in zip(*by_target.values(), strict=False):
                seeds[self.follows(dict(zip(by_target, values, strict=True)), transfer.tested_on)] += 1
        return Summary(
            probe,
            layer,
            "" if chosen is None else chosen.rule,
            known,
            self.follows(known, transfer.tested_on),
            dict(sorted(seeds.items(), key=_frequent)),
        )

    def follows(self, scores: Mapping[str, Score], tested_on: str = "") -> str:
        """`word`, `truth and word`, `none` …; see the module's text. Empty when nothing can be said."""
        chance = self.chance
        if chance is None or not all(score.bounded for score in scores.values()):
            return ""
        sign = 1 if self.higher_is_better else -1
        # Where chance differs between targets, what counts is how far each score is above its own.
        scores = {t: s.less(self._chances.get((tested_on, t), chance) - chance) for t, s in scores.items()}
        informed = [t for t, s in scores.items() if (s.low if sign > 0 else -s.high) > sign * chance]
        if not informed:
            return NEITHER
        best = max(scores, key=lambda target: sign * scores[target].value)
        level = [t for t in scores if t == best or not apart(scores[best], scores[t])]
        return " and ".join(level) if set(level) <= set(informed) else UNCLEAR


def covered(headline: pl.DataFrame) -> dict[tuple[str, str], str]:
    """By (fit_on, probe): what the intervals of all its rows cover."""
    if "covers" not in headline.columns:
        headline = headline.with_columns(covers=_covers())
    rows = headline.select("fit_on", "probe", "covers").unique().iter_rows()
    # Of several, the one that is said last has the least.
    return {(fit_on, probe): covers for fit_on, probe, covers in sorted(rows, key=lambda row: -len(row[2]))}


def _covers() -> pl.Expr:
    """What an interval covers, by the row's numbers: results.csv has no words for it."""
    import polars as pl

    seeds = pl.when(pl.col("seeds") > 1).then(pl.lit(", seeds")).otherwise(pl.lit(""))
    training = pl.when(pl.col("se_training").is_not_null() & pl.col("se_training").is_not_nan())
    return pl.lit("test rows") + seeds + training.then(pl.lit(", training sample")).otherwise(pl.lit(""))


def layer_order(layer: str) -> tuple[int, str]:
    """Sorts layers by depth; `all` comes first."""
    # CSV from a stranger may name a layer "²" or with ten thousand digits: text then, and no number.
    return (int(layer), "") if re.fullmatch(r"-?[0-9]{1,6}", layer) else (-(10**9), layer)


def _cells(frame: pl.DataFrame, *more: str, metric: str | None = None) -> dict[Key, dict[str, list[Score]]]:
    """By `Key`, then by layer, shallowest first: the scores, one per seed where the frame has seeds."""
    import polars as pl

    if metric is not None:
        frame = frame.filter(pl.col("metric") == metric)
    frame = frame.with_columns(pl.col("layer").cast(pl.String), pl.col("value", "low", "high").fill_null(math.nan))
    layers = sorted(frame["layer"].unique(), key=layer_order)
    depth = pl.col("layer").replace_strict(layers, range(len(layers)), return_dtype=pl.Int32).alias("depth")
    names = ["fit_on", "tested_on", "probe", "target", "metric", "layer", "value", "low", "high"]
    cells: dict[Key, dict[str, list[Score]]] = {}
    for row in frame.with_columns(depth).sort("depth", *more, maintain_order=True).select(names).iter_rows():
        cells.setdefault(row[:5], {}).setdefault(row[5], []).append(Score(*row[6:]))
    return cells


def _frequent(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
