"""A small report of made-up numbers: an outline and its tables, without a spec."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from harness.report.outline import ChosenLayer, MetricOutline, Outline, ProbeOutline, Role
from harness.report.scores import Scores
from harness.scoring.noise_floor import NoiseFloor
from harness.scoring.tables import RESULTS, SEEDS

ROLES: tuple[Role, ...] = ("no labels", "labels", "baseline")


def outline(
    transfers: int = 2,
    probes: int = 3,
    targets: tuple[str, ...] = ("truth", "word"),
    layers: int = 5,
    name: str = "small",
) -> Outline:
    conditions = [f"condition_{k}" for k in range(transfers)]
    probed = tuple(ProbeOutline(f"probe_{k}", ROLES[k % 3]) for k in range(probes))
    return Outline(
        name=name,
        about="Is it small?",
        file=f"specs/{name}.yaml",
        metrics=(MetricOutline("accuracy", 0.5, True), MetricOutline("auroc", 0.5, True)),
        transfers=tuple((c, c) for c in conditions),
        targets=targets,
        probes=probed,
        layers=tuple(ChosenLayer(c, p.name, str(layers - 1), "the last layer") for c in conditions for p in probed),
        claims=(),
        facts=(("model", "tiny"),),
        findings=(),
        standing=dict.fromkeys(conditions[1::2], targets[1:2]),
    )


def scores(of: Outline, layers: int = 5, seeds: int = 6, seed: int = 0, noise: NoiseFloor | None = None) -> Scores:
    """Probes without labels come to follow the second factor where it stands in the prompts, all others the truth."""
    generator = np.random.default_rng(seed)
    results: list[tuple[Any, ...]] = []
    each: list[pl.DataFrame] = [pl.DataFrame(schema=dict(SEEDS))]
    every = {"layer": np.repeat([str(layer) for layer in range(layers)], seeds), "seed": np.tile(range(seeds), layers)}
    for fit_on, tested_on in of.transfers:
        for probe in of.probes:
            misled = probe.role == "no labels" and tested_on in of.standing
            for k, target in enumerate(of.targets):
                top = 0.5 if probe.role == "baseline" or k != (1 if misled else 0) else 0.95
                for metric in of.metrics:
                    level = 0.5 + (top - 0.5) * np.arange(layers)[:, None] / max(1, layers - 1)
                    values = np.clip(level + generator.normal(0, 0.01, (layers, seeds)), 0, 1).round(4)
                    for layer, own in enumerate(values):
                        mean = round(float(own.mean()), 4)
                        where = (fit_on, tested_on, probe.name, str(layer), target, metric.name)
                        results.append((*where, mean, round(mean - 0.05, 4), round(min(1, mean + 0.05), 4), 100, seeds))
                    if metric is of.metrics[0]:
                        value = values.ravel()
                        same = {"fit_on": fit_on, "tested_on": tested_on, "probe": probe.name}
                        same |= {"target": target, "metric": metric.name, "n": 100}
                        found = {**every, "value": value, "low": value - 0.06, "high": value + 0.06}
                        frame = pl.DataFrame(found).with_columns(**{name: pl.lit(one) for name, one in same.items()})
                        each.append(frame.select(pl.col(name).cast(kind) for name, kind in SEEDS.items()))
    return Scores(of, pl.DataFrame(results, schema=dict(RESULTS), orient="row"), pl.concat(each), noise=noise)


def rows(of: Outline, count: int = 40, text: str = "Is this one of {} rows?") -> pl.DataFrame:
    """Rows of every probe on every condition; every third answer is wrong."""
    frames = [
        pl.DataFrame(
            {
                "fit_on": [fit_on] * count,
                "tested_on": [tested_on] * count,
                "probe": [probe.name] * count,
                "layer": ["4"] * count,
                "example": [f"e{i}" for i in range(count)],
                "template": ["main"] * count,
                "group": [f"g{i}" for i in range(count)],
                "text": [f"{i}: {text.format(count)}" for i in range(count)],
                "answer": [None if i == 5 else ("no", "yes")[i % 2] for i in range(count)],
                "own_answer": [("no", "yes")[i % 3 == 0] for i in range(count)],
                "right": [0.5 if i == 5 else float(i % 3 != 0) for i in range(count)],
                "score": [i / count - 0.5 for i in range(count)],
                "probability": [None if i == 5 else i / count for i in range(count)],
                "confidence": [None if i == 5 else abs(2 * i / count - 1) for i in range(count)],
                "factor_truth": [("no", "yes")[(i % 3 != 0) == (i % 2)] for i in range(count)],
                "factor_word": [("Banana", "Shed")[i % 2] for i in range(count)],
            }
        )
        for fit_on, tested_on in of.transfers
        for probe in of.probes
    ]
    return pl.concat(frames)


def states(of: Outline, count: int = 40) -> pl.DataFrame:
    """Three coordinates of the rows of every condition."""
    place = np.random.default_rng(0).normal(size=(3, count)).round(4)
    one = rows(of, count).filter(probe=of.probes[0].name)
    return one.select(
        pl.col("tested_on").alias("condition"),
        pl.lit("4").alias("layer"),
        *(pl.Series(f"pc{k + 1}", np.tile(place[k], len(of.transfers))) for k in range(3)),
        "factor_truth",
        "factor_word",
    )
