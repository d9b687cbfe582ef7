"""The measurements of the networks of one training, at every step that is stored of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.analyses.measurements import simplex
from harness.code.entries import kinds_of
from harness.contracts import Halfway, Measurement, Watch
from harness.execution.network_stage import Networks
from harness.networks.training_cost import measuring_mib
from harness.networks.watched import Watched
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.store import Artifact, content_key, reading
from harness.worlds.hidden_markov import HiddenMarkov
from harness.worlds.modular_arithmetic import ModularArithmetic
from harness.worlds.sparse_features import SparseFeatures

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run


class Found(msgspec.Struct, frozen=True):
    """What was measured."""

    values: pl.DataFrame
    """A row for each measurement, step and network: `measurement`, `step`, `network`, `value`."""
    spectra: pl.DataFrame
    """A row for each step, network and frequency: the share of the logits' variance of its wave of the answer, and whether it is a key frequency
    of the last step. Empty for a world without frequencies."""
    beliefs: pl.DataFrame
    """A row for each beginning of a sequence and each of two steps, before and after training: the `true` belief and what a linear map has `read` off the
    last layer of the first network. Empty for a world that is no process."""


class Measured(Stage[Found], frozen=True, kw_only=True):
    """Every measurement that the spec asks for, of each network at each stored step."""

    kind: ClassVar[str] = "measurement"
    unit: ClassVar[str] = "steps"

    networks: Networks
    measurements: tuple[Measurement, ...]

    @property
    def place(self) -> tuple[str, ...]:
        return self.networks.place

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.networks,)

    def made_from(self) -> Mapping[str, str]:
        asked = [[one.kind(), one] for one in self.measurements]
        return {"network": self.networks.key, "measurements": content_key(asked)}

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        first = self.networks.recipes[0]
        return (*super().runs, *kinds_of((*self.measurements, first.world, first.network)))

    def make(self, run: Run, work: Work) -> Found:
        import polars as pl

        checkpoints, recipes, steps = run.get(self.networks), self.networks.recipes, self.networks.steps
        work.total(len(steps))
        rows: list[tuple[str, int, int, float]] = []
        waves: list[tuple[int, int, int, float, bool]] = []
        last = Watched(recipes, checkpoints, steps[-1])
        for done, step in enumerate(steps, 1):
            watched = Watched(recipes, checkpoints, step, last)
            for one in self.measurements:
                rows += [
                    (one.title, step, network, value) for network, value in enumerate(one.measure(watched).tolist())
                ]
            if isinstance(recipes[0].world, ModularArithmetic):
                for network, (shares, keys) in enumerate(zip(watched.shares.tolist(), last.keys, strict=True)):
                    waves += [(step, network, k, share, k in keys) for k, share in enumerate(shares, 1)]
            work.to(done)
        work.counts["rows"] = len(rows)
        beliefs = []
        if isinstance(recipes[0].world, HiddenMarkov):
            seen = simplex.seen(Watched(recipes, checkpoints, steps[0]), last)
            beliefs = [msgspec.structs.astuple(one) for one in seen]
        tables = ((rows, _VALUES), (waves, _WAVES), (beliefs, _BELIEFS))
        return Found(*(pl.DataFrame(own, schema=_schema(names), orient="row") for own, names in tables))

    def save(self, made: Found, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames(msgspec.structs.asdict(made), folder)

    def load(self, artifact: Artifact) -> Found:
        schemas = {"values": _schema(_VALUES), "spectra": _schema(_WAVES), "beliefs": _schema(_BELIEFS)}
        return Found(**reading.load_frames(artifact, schemas))

    def watch(self, run: Run) -> Watch:
        """What checks are decided by."""
        values, classes = run.get(self).values, self.networks.recipes[0].sizes.classes
        shape = (len(self.networks.recipes), len(self.networks.steps))
        by_title = {
            one.title: values.filter(measurement=one.title).sort("network", "step")["value"].to_numpy().reshape(shape)
            for one in self.measurements
        }
        return Watch(
            self.networks.steps,
            by_title,
            {one.title: bar for one in self.measurements if (bar := halfway(one.scale, classes))},
        )

    def cost(self, run: Run) -> Cost:
        networks, rows = self.networks.recipes, self.networks.recipes[0].world.rows
        peak = measuring_mib(networks)
        return Cost(
            rows=rows,
            peak_mib=round(peak, 1),
            where="cpu",
            note=f"{len(self.measurements)} measurements of {len(networks)} networks at {len(self.networks.steps)} steps, "
            f"{peak:,.0f} MiB at the peak",
        )


_VALUES = ("measurement", "step", "network", "value")
_WAVES = ("step", "network", "frequency", "share", "key")
_BELIEFS = ("step", "beginning", "true", "read")


def _schema(names: Sequence[str]) -> dict[str, Any]:
    import polars as pl

    types: dict[str, Any] = {"measurement": pl.String, "value": pl.Float64, "share": pl.Float64, "key": pl.Boolean}
    types |= {name: pl.List(pl.Float64) for name in ("true", "read")}
    return {name: types.get(name, pl.Int64()) for name in names}


def halfway(scale: str, classes: int) -> Halfway | None:
    """The value halfway between guessing and knowing all on a measurement's scale; None where it has none."""
    if scale in ("loss", "loss_without"):
        without = scale == "loss_without"
        return Halfway(math.log(classes) / 2, rising=without, axis="loss", returns=without)
    least = {"share": 1 / classes, "r2": 0.0}.get(scale)
    return None if least is None else Halfway((1 + least) / 2, rising=True)


def stages(plan: Plan) -> Iterator[Measured]:
    """One for each training of which some condition reads a step."""
    for networks in plan.of("network"):
        if set(networks.place) & set(plan.subjects):
            yield Measured(networks=networks, measurements=plan.spec.measurements)


def assembled(run: Run, stages: Sequence[Stage[Any]]) -> tuple[pl.DataFrame, ...]:
    """Measurements, spectra and beliefs of all trainings, each under the first of its conditions, with the value halfway to knowing all, and what the
    networks were trained on: how many questions, with which weight decay, initial scale and labels, whether further than a first training, and of features their
    density, with a hash of all `otherwise`."""
    import polars as pl

    values, spectra, beliefs = [], [], []
    for stage in stages:
        assert isinstance(stage, Measured)
        found, bars = run.get(stage), stage.watch(run).halfway
        named = pl.lit(stage.place[0]).alias("condition")
        title, parts = (
            pl.col("measurement"),
            {"halfway": pl.Float64, "rising": pl.Boolean, "axis": pl.String, "returns": pl.Boolean},
        )
        told = [
            title.replace_strict(
                {name: getattr(bar, "value" if part == "halfway" else part) for name, bar in bars.items()},
                default=None, return_dtype=kind,
            ).alias(part)
            for part, kind in parts.items()
        ]  # fmt: skip
        last = stage.networks.recipes[0]
        trained = [
            pl.lit(value).alias(name)
            for name, value in {
                "questions": last.asked,
                "weight_decay": float(last.weight_decay),
                "initial_scale": float(last.initial_scale),
                "labels": last.labels,
                "further": stage.networks.start is not None,
            }.items()
        ]
        density, otherwise = _density(stage.networks)
        trained += [
            pl.lit(density, pl.Float64).alias("density"),
            pl.lit(otherwise, pl.String).alias("otherwise"),
        ]
        values.append(found.values.select(named, *_VALUES, *told, *trained))
        spectra.append(found.spectra.select(named, *_WAVES))
        beliefs.append(found.beliefs.select(named, *_BELIEFS))
    return pl.concat(values), pl.concat(spectra), pl.concat(beliefs)


def _density(networks: Networks) -> tuple[float | None, str | None]:
    """The density of the features that networks learn, and a hash of all else that they are trained by; None where they learn none."""
    world = networks.recipes[0].world
    if not isinstance(world, SparseFeatures):
        return None, None
    # Not a world of another density: pairs that are never active together cannot have every one.
    own = [{**msgspec.structs.asdict(one), "world": None} for one in networks.recipes]
    return world.density, content_key(own, {**msgspec.structs.asdict(world), "density": None})
