"""A small report of made-up numbers: an outline and its tables, without a spec."""

from __future__ import annotations

import numpy as np
import polars as pl

from harness.report.outline import ChosenLayer, MetricOutline, Outline, ProbeOutline, Role
from harness.report.scores import Scores
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


def scores(of: Outline, layers: int = 5, seeds: int = 6, seed: int = 0) -> Scores:
    """Probes without labels come to follow the second factor where it stands in the prompts, all others the truth."""
    generator = np.random.default_rng(seed)
    results, each = [], []
    for fit_on, tested_on in of.transfers:
        for probe in of.probes:
            misled = probe.role == "no labels" and tested_on in of.standing
            for k, target in enumerate(of.targets):
                top = 0.5 if probe.role == "baseline" or k != (1 if misled else 0) else 0.95
                for metric in of.metrics:
                    for layer in range(layers):
                        level = 0.5 + (top - 0.5) * layer / max(1, layers - 1)
                        values = np.clip(level + generator.normal(0, 0.01, seeds), 0, 1).round(4)
                        mean = round(float(values.mean()), 4)
                        where = (fit_on, tested_on, probe.name, str(layer), target, metric.name)
                        results.append((*where, mean, round(mean - 0.05, 4), round(min(1, mean + 0.05), 4), 100, seeds))
                        if metric is of.metrics[0]:
                            each += [(*where, s, v, v - 0.06, v + 0.06, 100) for s, v in enumerate(values.tolist())]
    return Scores(
        of,
        pl.DataFrame(results, schema=dict(RESULTS), orient="row"),
        pl.DataFrame(each, schema=dict(SEEDS), orient="row"),
    )
