"""The whole procedure done again: sample, split, fit and score on the tour of specs/README.md, against the interval of each run.

What is true is the mean over all runs; an interval covers if it holds it, and two runs differ if their intervals say so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import msgspec
import numpy as np
import torch

from harness.beds.planted import Planted
from harness.contracts import Pairs, Probe
from harness.contracts.kind import find
from harness.fitting.refit import Refitting, spread_of
from harness.maths import discoveries
from harness.maths.estimate import Estimate, over_seeds
from harness.metrics.accuracy import Accuracy
from harness.metrics.auroc import Auroc
from harness.report.intervals import Score, apart, reach
from harness.scoring.score import TRUTH, Labels, SideBySide, measure

PROBES = ("mean_difference", "logistic_regression", "crc_tpc", "lda", "kmeans", "ccs")
COSTLY = ("ccs",)
"""Fewer runs must do."""
LAYER, ROWS, TRAIN, TEST = 3, 400, 200, 160
BED = Planted(truth=1.0, distractor=4.0)
METRICS = (Accuracy(), Auroc())
_NEAR = 10
"""Each run is held against so many others."""

Row = tuple[str, str]
"""Target and metric."""


class Run(msgspec.Struct, frozen=True):
    """One row of one run."""

    rows_alone: Estimate
    """With the interval of test rows and seeds."""
    whole: Estimate
    """With that of the training sample, too."""


class Found(msgspec.Struct, frozen=True):
    """How often intervals of a row hold the mean over all runs, and how often two runs are apart."""

    probe: str
    row: Row
    mean: float
    spread: float
    """Standard deviation over runs."""
    covered: tuple[float, float]
    """Without the training sample, and with it; so are the next."""
    apart: tuple[float, float]


def drawn(probe: Probe, seed: int) -> Mapping[Row, Run]:
    """A run with rows of its own."""
    frame = BED.load(ROWS, seed)
    states = torch.stack([BED.states(frame[f"tokens_{member}"].to_list())[LAYER:] for member in (0, 1)], dim=2)
    order = np.random.default_rng([seed, 41]).permutation(ROWS)
    parts = {"train": order[:TRAIN], "test": order[-TEST:]}
    pairs = {
        part: Pairs(states=states[:, rows], template=torch.zeros(len(rows), dtype=torch.long))
        for part, rows in parts.items()
    }
    labels = {
        part: Labels({TRUTH: frame["label"].to_numpy()[rows], "word": frame["word"].to_numpy()[rows]}, rows)
        for part, rows in parts.items()
    }
    again = Refitting(
        probe=probe, fit_on="main", layers=(LAYER,), train=pairs["train"], labels=labels["train"],
        tests={"main": pairs["test"]}, test_labels={"main": labels["test"]},
    )  # fmt: skip
    seeds = range(6 if probe.seeded else 1)
    fit = again.on(np.arange(TRAIN), seeds, partial=False)
    halves = again.on_halves((TRUTH,), seed, seeds, partial=False)
    others = SideBySide([(half.scored["main"], half.labels) for half in halves], labels["test"])
    rows = {}
    for target in labels["test"].targets:
        for metric in METRICS:
            one = measure(fit.scored["main"], fit.labels, labels["test"], target, metric)
            assert one is not None
            whole = over_seeds(one, training=spread_of(one, others.measure(target, metric))).one(0)
            rows[target, metric.title] = Run(over_seeds(one).one(0), whole)
    return rows


def of_probe(name: str, draws: int) -> list[Found]:
    """What holds of one probe's rows in so many runs."""
    probe = find("probes", name)()
    assert isinstance(probe, Probe)
    return held_against(name, [drawn(probe, 1000 + seed) for seed in range(draws // 5 if name in COSTLY else draws)])


def held_against(name: str, runs: Sequence[Mapping[Row, Run]]) -> list[Found]:
    """Each run of a probe against the mean of all, and against those that follow."""
    found = []
    for row in runs[0]:
        values = np.array([run[row].whole.value for run in runs])
        sides = [[getattr(run[row], side) for run in runs] for side in ("rows_alone", "whole")]
        covered = [np.mean([one.low <= values.mean() <= one.high for one in side]) for side in sides]
        far = [np.mean([apart(a, b) for a, b in near(list(map(score, side)))]) for side in sides]
        found.append(
            Found(
                name, row, float(values.mean()), float(values.std()),
                (float(covered[0]), float(covered[1])), (float(far[0]), float(far[1])),
            )
        )  # fmt: skip
    return found


def near(scores: list[Score]) -> Iterator[tuple[Score, Score]]:
    for at in range(len(scores)):
        for other in range(at + 1, min(at + 1 + _NEAR, len(scores))):
            yield scores[at], scores[other]


def score(one: Estimate) -> Score:
    return Score(one.value, one.low, one.high)


def discovered(draws: int, names: tuple[str, ...] = PROBES[:5]) -> tuple[float, float]:
    """Share of pairs of runs in which anything is found among all rows of all probes, though nothing differs: with intervals that
    leave out the training sample and no correction, as it was, and with both."""
    probes = {name: find("probes", name)() for name in names}
    runs = [{(name, *row): run for name, probe in probes.items() for row, run in drawn(probe, 5000 + seed).items()}  # type: ignore[arg-type]
            for seed in range(draws)]  # fmt: skip
    plain, controlled = [], []
    for a, b in combinations(runs, 2):
        plain.append(any(apart(score(a[row].rows_alone), score(b[row].rows_alone)) for row in a))
        chances = [
            discoveries.chance(a[row].whole.value - b[row].whole.value, reach(score(a[row].whole), score(b[row].whole)))
            for row in a
        ]
        controlled.append(any(discoveries.found(chances)))
    return float(np.mean(plain)), float(np.mean(controlled))


def found_among(rows: int, changed: int, correlation: float, z: float, times: int) -> tuple[float, float]:
    """Share of false ones among the rows that are found, and share of the changed rows that are found: `rows` tests whose noise goes
    together, of which some have changed by `z` standard errors."""
    random = np.random.default_rng([rows, changed, 43])
    false, power = [], []
    for _ in range(times):
        shared = random.standard_normal()
        noise = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * random.standard_normal(rows)
        moved = noise + z * (np.arange(rows) < changed)
        found = np.array(discoveries.found([discoveries.chance(one, 1.959964) for one in moved]))
        false.append(found[changed:].sum() / max(found.sum(), 1))
        power.append(found[:changed].mean() if changed else 0.0)
    return float(np.mean(false)), float(np.mean(power))
