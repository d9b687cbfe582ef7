"""The stages of geometry, two for each condition that the spec asks for: what is measured at all layers, and what at the judged one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from harness.analyses.geometry.components import components
from harness.analyses.geometry.raw_directions import cosines, mean_difference, raw_directions
from harness.analyses.geometry.variance import Split, split
from harness.contracts import ALL_LAYERS
from harness.execution.controls import evidence_of
from harness.plan.plan import Plan
from harness.plan.stage import Stage
from harness.readouts.stored_readouts import load_fit
from harness.scoring.evidence import Evidence
from harness.scoring.score import fits
from harness.spec import Spec
from harness.spec.plain import plain, probe_name
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.contracts import Normaliser, Readout
    from harness.execution.record import Work
    from harness.execution.run import Run


class Measured(Stage["dict[str, pl.DataFrame]"], frozen=True, kw_only=True):
    """The geometry of one condition at all layers, without its name. Which layer is judged makes no difference to it."""

    kind: ClassVar[str] = "geometry"

    spec: Spec
    condition: str
    fits: Mapping[str, Stage[Any]]
    """By probe, those that are fitted on the condition."""
    scores: Mapping[str, Stage[Any]]
    """By probe, those that are tested on it as well."""

    @property
    def place(self) -> tuple[str, ...]:
        return (self.condition,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (*self.fits.values(), *self.scores.values())

    def made_from(self) -> Mapping[str, str]:
        return {
            "fits": content_key([[name, stage.key] for name, stage in self.fits.items()]),
            "scores": content_key([[name, stage.key] for name, stage in self.scores.items()]),
            "xors": content_key(plain(self.spec.xors)),
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        # It asks readouts of whatever form for their directions.
        return (*super().runs, load_fit)

    def make(self, run: Run, work: Work) -> dict[str, pl.DataFrame]:
        from harness.analyses.geometry.measures import frame

        made = frame(_measures(run, self.condition))
        work.counts["rows"] = made.height
        return {"measures": made}

    def save(self, made: dict[str, pl.DataFrame], folder: Path) -> Mapping[str, Any]:
        return reading.save_frames(made, folder)

    def load(self, artifact: Artifact) -> dict[str, pl.DataFrame]:
        from harness.analyses.geometry.measures import MEASURES

        return reading.load_frames(artifact, {"measures": MEASURES})


class Judged(Stage["dict[str, pl.DataFrame]"], frozen=True, kw_only=True):
    """How the states of one condition lie at the judged layer, and every fit there: tables without the condition's name."""

    kind: ClassVar[str] = "components"

    spec: Spec
    condition: str
    scores: Mapping[tuple[str, ...], Stage[Any]]
    """By place, those of probes that are fitted on the condition, wherever they are tested."""

    @property
    def place(self) -> tuple[str, ...]:
        return (self.condition,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return tuple(self.scores.values())

    def made_from(self) -> Mapping[str, str]:
        return {
            "scores": content_key([[place, stage.key] for place, stage in self.scores.items()]),
            "layer rule": str(self.spec.layer),
        }

    def make(self, run: Run, work: Work) -> dict[str, pl.DataFrame]:
        evidence = evidence_of(run)
        made = {
            "states": _states(run, evidence, self.condition),
            "fits": _fits(run, evidence, self.condition),
        }
        work.counts["rows"] = made["states"].height
        return made

    def save(self, made: dict[str, pl.DataFrame], folder: Path) -> Mapping[str, Any]:
        return reading.save_frames(made, folder)

    def load(self, artifact: Artifact) -> dict[str, pl.DataFrame]:
        from harness.analyses.geometry.measures import COORDINATES, FITS

        return reading.load_frames(artifact, {"states": ("layer", *COORDINATES), "fits": FITS})


def stages(plan: Plan) -> Iterator[Measured | Judged]:
    """Those that a spec asks for."""
    spec = plan.spec
    fitted = list(dict.fromkeys(fit_on for fit_on, _ in spec.transfers()))
    for name in dict.fromkeys(fitted if spec.geometry is True else spec.geometry or ()):
        yield Measured(
            spec=spec,
            condition=name,
            fits={stage.place[1]: stage for stage in plan.of("fit") if stage.place[0] == name},
            scores={stage.place[2]: stage for stage in plan.of("score") if stage.place[:2] == (name, name)},
        )
        yield Judged(
            spec=spec,
            condition=name,
            scores={stage.place: stage for stage in plan.of("score") if stage.place[0] == name},
        )


def _measures(run: Run, condition: str) -> Iterator[dict[str, object]]:
    from harness.analyses.geometry.measures import measured

    layers = [str(layer) for layer in run.conditions.layers(condition)]
    fitted = {
        probe_name(probe): run.conditions.fitted(condition, probe_name(probe))
        for probe in run.plan.spec.probes
        if probe.layered and run.plan.has("fit", condition, probe_name(probe))
    }
    # One layer after another: the states of all need not fit into memory together.
    apart = [_at_layer(run, condition, fitted, place) for place in range(len(layers))]
    directions = {name: np.concatenate([one.directions[name] for one in apart], axis=1) for name in apart[0].directions}
    for a, b in combinations_with_replacement(directions, 2):
        yield from measured("cosine", a, b, cosines(directions[a], directions[b], same=a == b), layers)
    for name in apart[0].splits:
        for share in ("confidence", "consistency"):
            values = np.concatenate([getattr(one.splits[name], share) for one in apart], axis=1)
            yield from measured(share, name, "", values, layers)
    yield from _losses(run, condition)


class _Layer(msgspec.Struct, frozen=True):
    """What is measured at one layer."""

    directions: dict[str, np.ndarray]
    """Raw directions of every probe that has one, in the order of the spec, and of every factor's means."""
    splits: dict[str, Split]
    """Of the variance of those probes."""


def _at_layer(run: Run, condition: str, fitted: Mapping[str, tuple[Readout, Normaliser | None]], place: int) -> _Layer:
    layer = run.conditions.layers(condition)[place]
    train, test = (run.conditions.pairs(condition, part, (layer,)) for part in ("train", "test"))
    found = _Layer({}, {})
    for name, (readout, of_all) in fitted.items():
        every = readout.pair_weights
        if every is None:
            continue
        weight = every[:, place : place + 1]
        normaliser = None if of_all is None else of_all.at(layer=[place])
        found.directions[name] = raw_directions(weight, normaliser, train)
        found.splits[name] = split(weight, (test if normaliser is None else normaliser(test)).states)
    for factor, labels in run.conditions.labels(condition, "train").binary.items():
        found.directions[f"mean of {factor}"] = mean_difference(train, labels)
    return found


def _losses(run: Run, condition: str) -> Iterator[dict[str, object]]:
    from scipy.stats import spearmanr

    from harness.analyses.geometry.measures import measured

    train, test = (run.conditions.labels(condition, part) for part in ("train", "test"))
    for (fit_on, tested, name), scored in run.conditions.all_scored().items():
        if (fit_on, tested) != (condition, condition):
            continue
        for target in test.binary:
            for place, layer in enumerate(scored.layers):
                found = fits(scored, place, train, test, target)
                if found is None or found.loss.size < 3:
                    continue
                loss, accuracy = found.loss.ravel(), found.accuracy.ravel()
                if np.ptp(loss) > 0 and np.ptp(accuracy) > 0:
                    value = float(spearmanr(loss, accuracy).statistic)
                    for row in measured("loss_accuracy", name, target, np.array([[value]]), [str(layer)]):
                        yield row | {"n": loss.size}


_XOR = ("0", "1")
"""Classes of an XOR, which have no names."""


def _states(run: Run, evidence: Evidence, condition: str) -> pl.DataFrame:
    import polars as pl

    from harness.analyses.geometry.measures import COORDINATES, FACTOR, rounded

    layer = _judged_layer(run, evidence, condition)
    train, test = (run.conditions.pairs(condition, part, (layer,)) for part in ("train", "test"))
    found = components(train, test)
    named = {factor.name: factor.values for factor in run.conditions.table(condition).factors}
    classes = {
        f"{FACTOR}{name}": [named.get(name, _XOR)[label] for label in labels]
        for name, labels in run.conditions.labels(condition, "test").binary.items()
    }
    columns = dict(zip(COORDINATES, found.coordinates.T, strict=True))
    made = pl.DataFrame({"layer": [str(layer)] * len(found.coordinates), **columns, **classes})
    return rounded(made)


def _fits(run: Run, evidence: Evidence, condition: str) -> pl.DataFrame:
    """Every fit of the probes that have a loss, each probe at its judged layer."""
    import polars as pl

    from harness.analyses.geometry.measures import FITS, rounded

    frames = [pl.DataFrame(schema=dict(FITS))]
    for name in (probe_name(probe) for probe in run.plan.spec.probes):
        scored = run.conditions.all_scored().get((condition, condition, name))
        if scored is None or scored.loss is None:
            continue
        layer = evidence.of(name, condition).layer.layer
        for target in run.conditions.labels(condition, "test").binary:
            found = evidence.of(name, condition).fits(target=target)
            if found is None:
                continue
            seeds, restarts = found.loss.shape
            columns = {
                "probe": [name] * found.loss.size,
                "layer": [ALL_LAYERS if layer is None else str(layer)] * found.loss.size,
                "target": [target] * found.loss.size,
                "seed": np.repeat(np.arange(seeds), restarts),
                "restart": np.tile(np.arange(restarts), seeds),
                "loss": found.loss.ravel().astype(np.float64),
                "accuracy": found.accuracy.ravel().astype(np.float64),
            }
            frames.append(pl.DataFrame(columns, schema=dict(FITS)))
    return rounded(pl.concat(frames))


def _judged_layer(run: Run, evidence: Evidence, condition: str) -> int:
    """The layer that summaries show for the first probe of the spec that has layers, where it is fitted here."""
    for fit_on, tested, probe in run.conditions.all_scored():
        if fit_on == condition:
            layer = evidence.of(probe, tested, fit_on=fit_on).layer.layer
            if layer is not None:
                return layer
    kept = run.conditions.layers(condition)
    return kept[len(kept) // 2]
