"""Measures the geometry of each condition that the spec asks for, once, and puts the tables together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness import artifacts
from harness.evidence import Evidence
from harness.geometry.components import components
from harness.geometry.directions import cosines, mean_difference, pair_weights, raw_directions
from harness.geometry.variance import Split, split
from harness.normalisers import at_layers
from harness.plan import probe_name
from harness.scoring import fits

if TYPE_CHECKING:
    import polars as pl

    from harness.contracts import Normaliser, Readout
    from harness.execution import Execution
    from harness.geometry.tables import Geometry


def geometry(execution: Execution, evidence: Evidence) -> Geometry | None:
    """All that the spec asks for, from the store where it is; None if it asks for none."""
    from harness.geometry.tables import assembled

    stages = execution.plan.geometries
    if not stages:
        return None
    return assembled({condition: _of_condition(execution, evidence, condition) for condition in stages})


def _of_condition(execution: Execution, evidence: Evidence, condition: str) -> dict[str, pl.DataFrame]:
    from harness.geometry.tables import TABLES, frame

    stage = execution.plan.geometries[condition]
    if stored := artifacts.read(
        execution.store, stage.kind, stage.key, lambda found: artifacts.load_frames(found, TABLES)
    ):
        return stored
    with execution.stage(stage) as (_, counts):
        made = {
            "measures": frame(_measures(execution, condition)),
            "states": _states(execution, evidence, condition),
            "fits": _fits(execution, evidence, condition),
        }
        counts["rows"] = made["states"].height
        with execution.store.write(stage.kind, stage.key) as folder:
            for name, table in made.items():
                table.write_parquet(folder / f"{name}.parquet")
    return made


def _measures(execution: Execution, condition: str) -> Iterator[dict[str, object]]:
    from harness.geometry.tables import measured

    layers = [str(layer) for layer in execution.layers(condition)]
    fitted = {
        probe_name(probe): execution.fitted(condition, probe_name(probe))
        for probe in execution.plan.spec.probes
        if probe.reads == "states" and (condition, probe_name(probe)) in execution.plan.fits
    }
    # One layer after another: the states of all need not fit into memory together.
    apart = [_at_layer(execution, condition, fitted, place) for place in range(len(layers))]
    directions = {name: np.concatenate([one.directions[name] for one in apart], axis=1) for name in apart[0].directions}
    for a, b in combinations_with_replacement(directions, 2):
        yield from measured("cosine", a, b, cosines(directions[a], directions[b], same=a == b), layers)
    for name in apart[0].splits:
        for share in ("confidence", "consistency"):
            values = np.concatenate([getattr(one.splits[name], share) for one in apart], axis=1)
            yield from measured(share, name, "", values, layers)
    yield from _losses(execution, condition)


class _Layer(msgspec.Struct, frozen=True):
    """What is measured at one layer."""

    directions: dict[str, np.ndarray]
    """Raw directions of every probe that has one, in the order of the spec, and of every factor's means."""
    splits: dict[str, Split]
    """Of the variance of those probes."""


def _at_layer(
    execution: Execution, condition: str, fitted: Mapping[str, tuple[Readout, Normaliser | None]], place: int
) -> _Layer:
    layer = execution.layers(condition)[place]
    train, test = (execution.pairs(condition, part, (layer,)) for part in ("train", "test"))
    found = _Layer({}, {})
    for name, (readout, of_all) in fitted.items():
        every = pair_weights(readout)
        if every is None:
            continue
        weight = every[:, place : place + 1]
        normaliser = None if of_all is None else at_layers(of_all, [place])
        found.directions[name] = raw_directions(weight, normaliser, train)
        found.splits[name] = split(weight, (test if normaliser is None else normaliser(test)).states)
    for factor, labels in execution.labels(condition, "train").targets.items():
        found.directions[f"mean of {factor}"] = mean_difference(train, labels)
    return found


def _losses(execution: Execution, condition: str) -> Iterator[dict[str, object]]:
    from scipy.stats import spearmanr

    from harness.geometry.tables import measured

    train, test = (execution.labels(condition, part) for part in ("train", "test"))
    for (fit_on, tested, name), scored in execution.all_scored.items():
        if (fit_on, tested) != (condition, condition):
            continue
        for target in test.targets:
            for place, layer in enumerate(scored.layers):
                found = fits(scored, place, train, test, target)
                if found is None or found.loss.size < 3:
                    continue
                loss, accuracy = found.loss.ravel(), found.accuracy.ravel()
                if np.ptp(loss) > 0 and np.ptp(accuracy) > 0:
                    value = float(spearmanr(loss, accuracy).statistic)
                    for row in measured("loss_accuracy", name, target, np.array([[value]]), [str(layer)]):
                        yield row | {"n": loss.size}


def _states(execution: Execution, evidence: Evidence, condition: str) -> pl.DataFrame:
    import polars as pl

    from harness.geometry.tables import COORDINATES, FACTOR, rounded

    layer = _judged_layer(execution, evidence, condition)
    train, test = (execution.pairs(condition, part, (layer,)) for part in ("train", "test"))
    found = components(train, test)
    named = {factor.name: factor.values for factor in execution.table(condition).factors}
    classes = {
        f"{FACTOR}{name}": [named[name][label] for label in labels]
        for name, labels in execution.labels(condition, "test").targets.items()
    }
    columns = dict(zip(COORDINATES, found.coordinates.T, strict=True))
    made = pl.DataFrame({"layer": [str(layer)] * len(found.coordinates), **columns, **classes})
    return rounded(made)


def _fits(execution: Execution, evidence: Evidence, condition: str) -> pl.DataFrame:
    """Every fit of the probes that have a loss, each probe at its judged layer."""
    import polars as pl

    from harness.geometry.tables import FITS, rounded

    frames = [pl.DataFrame(schema=dict(FITS))]
    for name in (probe_name(probe) for probe in execution.plan.spec.probes):
        scored = execution.all_scored.get((condition, condition, name))
        if scored is None or scored.loss is None:
            continue
        own = evidence.of(name, condition)
        for target in execution.labels(condition, "test").targets:
            found = own.fits(target=target)
            if found is None:
                continue
            seeds, restarts = found.loss.shape
            columns = {
                "probe": [name] * found.loss.size,
                "layer": [str(own.layer.layer)] * found.loss.size,
                "target": [target] * found.loss.size,
                "seed": np.repeat(np.arange(seeds), restarts),
                "restart": np.tile(np.arange(restarts), seeds),
                "loss": found.loss.ravel().astype(np.float64),
                "accuracy": found.accuracy.ravel().astype(np.float64),
            }
            frames.append(pl.DataFrame(columns, schema=dict(FITS)))
    return rounded(pl.concat(frames))


def _judged_layer(execution: Execution, evidence: Evidence, condition: str) -> int:
    """The layer that summaries show for the first probe of the spec that has layers, where it is fitted here."""
    for fit_on, tested, probe in execution.plan.scores:
        if fit_on == condition:
            layer = evidence.of(probe, tested, fit_on=fit_on).layer.layer
            if layer is not None:
                return layer
    kept = execution.layers(condition)
    return kept[len(kept) // 2]
