"""The stage that looks at the dimensions a probe chooses, one after another, on the test rows of every target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from harness.activations.layers import resolve
from harness.contracts import Answers
from harness.contracts.kind import find
from harness.errors import DataError, KeyFault
from harness.maths.estimate import Measured, per_seed
from harness.plan.plan import Plan
from harness.plan.stage import Stage
from harness.readouts.stored_readouts import load_fit
from harness.scoring.score import metric_named
from harness.spec.plain import plain, probe_name
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run
    from harness.scoring.score import SplitName

_TABLE = "dimensions"


class Aim(msgspec.Struct, frozen=True):
    """What one probe is fitted to tell in one condition."""

    probe: str
    condition: str
    target: str
    """The truth, or a factor."""


class DimensionsLookedAt(Stage["pl.DataFrame"], frozen=True, kw_only=True):
    """The AUROC of every dimension that a probe chooses for some target, on every target: a row for each of both.

    Columns: `condition`, `probe` and `target` (the truth, or a factor); `layer`; `dimension`, counted from 0; `chosen`, whether the probe chooses it for this target;
    `auroc` of the dimension alone on test rows, the way round that training rows have it, with its 95 % interval `low` to `high`; `width`, how many dimensions there are.
    """

    kind: ClassVar[str] = "dimensions"

    aims: tuple[Aim, ...]
    layer: int
    fits: tuple[Stage[Any], ...]
    """Of each."""
    states: tuple[Stage[Any], ...]
    """Of the condition of each."""
    prompts: tuple[Stage[Any], ...]
    """Of the condition of each."""

    @property
    def place(self) -> tuple[str, ...]:
        return (f"layer {self.layer}", *(f"{one.probe} in {one.condition}" for one in self.aims))

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return tuple({stage.key: stage for stage in (*self.fits, *self.states, *self.prompts)}.values())

    def made_from(self) -> Mapping[str, str]:
        read = [stage.key_of(aim.condition) for aim, stage in zip(self.aims, self.states, strict=True)]  # type: ignore[attr-defined]
        return {
            "targets": content_key(self.aims),
            "fits": content_key([one.key for one in self.fits]),
            "states": content_key(read),
            "prompts": content_key([one.key for one in self.prompts]),
            "layer": str(self.layer),
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        return (*super().runs, load_fit, find("metrics", "auroc"))

    def make(self, run: Run, work: Work) -> pl.DataFrame:
        import polars as pl

        chosen = {aim: _chosen(run, aim, self.layer) for aim in self.aims}
        every = np.unique(np.concatenate(list(chosen.values())))
        frames = []
        for aim, own in chosen.items():
            found = _told(run, aim, self.layer, every) if len(every) else {}
            named = {**msgspec.structs.asdict(aim), "layer": self.layer, "width": run.conditions.width(aim.condition)}
            columns = {"dimension": every, "chosen": np.isin(every, own), **found}
            frame = pl.DataFrame(columns).with_columns(pl.lit(value).alias(name) for name, value in named.items())
            frames.append(
                frame.select(pl.col(name).cast(dtype) for name, dtype in _schema().items()) if found else frame.clear()
            )
        made = pl.concat(frames) if len(every) else pl.DataFrame(schema=_schema())
        work.counts["rows"] = made.height
        return made

    def save(self, made: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames({_TABLE: made}, folder)

    def load(self, artifact: Artifact) -> pl.DataFrame:
        return reading.load_frames(artifact, {_TABLE: _schema()})[_TABLE]


def _schema() -> dict[str, Any]:
    import polars as pl

    named = dict.fromkeys(("condition", "probe", "target"), pl.String())
    told = dict.fromkeys(("auroc", "low", "high"), pl.Float64())
    return {
        **named,
        "layer": pl.Int64(),
        "dimension": pl.Int64(),
        "chosen": pl.Boolean(),
        **told,
        "width": pl.Int64(),
    }


def _chosen(run: Run, aim: Aim, layer: int) -> np.ndarray:
    """Dimensions that have a weight in the probe, in order, (dimension,)."""
    readout, _ = run.conditions.fitted(aim.condition, aim.probe)
    weight = readout.pair_weights
    assert weight is not None, "a k-sparse probe is linear"
    # Nothing in it is random: all seeds have the same weights.
    own = weight[0, run.conditions.layers(aim.condition).index(layer)]
    found: np.ndarray = own.abs().sum(0).nonzero()[:, 0].numpy()
    return found


def _told(run: Run, aim: Aim, layer: int, dimensions: np.ndarray) -> dict[str, np.ndarray]:
    """AUROC and its interval of some dimensions, each by itself."""
    train, test = (_auroc(run, aim, layer, part, dimensions) for part in ("train", "test"))
    turned = train.value < 0.5
    told = per_seed(test)
    value, low, high = (part[0] for part in (told.value, told.low, told.high))
    return {
        "auroc": np.where(turned[0], 1 - value, value),
        "low": np.where(turned[0], 1 - high, low),
        "high": np.where(turned[0], 1 - low, high),
    }


def _auroc(run: Run, aim: Aim, layer: int, part: SplitName, dimensions: np.ndarray) -> Measured:
    """Of the rows of a part, a dimension in the place of a layer."""
    labels = run.conditions.labels(aim.condition, part)
    rows = _rows(run, aim, layer, part)[:, dimensions]
    answers = Answers(np.ascontiguousarray(rows.T, dtype=np.float32)[None])
    found = metric_named("auroc").measure(answers, labels.binary[aim.target], labels.group)
    if found is None:
        raise DataError(
            f"polysemantic_neurons: the {part} rows of {aim.condition} have one {aim.target} only; give it more"
        )
    return found


def _rows(run: Run, aim: Aim, layer: int, part: SplitName) -> np.ndarray:
    """What the probe reads of each row, x⁺ − x⁻ or the statement, (row, d_model)."""
    _, of_all = run.conditions.fitted(aim.condition, aim.probe)
    pairs = run.conditions.pairs(aim.condition, part, (layer,))
    if of_all is not None:
        pairs = of_all.at(layer=[run.conditions.layers(aim.condition).index(layer)])(pairs)
    states = pairs.states[0]
    rows: np.ndarray = (states[:, 0] if states.shape[1] == 1 else states[:, 1] - states[:, 0]).numpy()
    return rows


def asked_stages(
    plan: Plan, probes: Sequence[str], conditions: Sequence[str], layer: int, key: str
) -> Iterator[DimensionsLookedAt]:
    """One for all conditions that read the same states; `key` is where the spec asks for it. Raises KeyFault for probes, conditions or a layer that cannot be
    compared."""
    sparse = {probe_name(one): one for one in plan.spec.probes if one.kind() == "k_sparse" and one.layers is None}
    for number, name in enumerate(probes):
        if name not in sparse:
            there = f"name one of {', '.join(sparse)}" if sparse else "write one, such as {kind: k_sparse, k: 16}"
            raise KeyFault(f"{key}.probes[{number}]", f"{name} is no k_sparse probe of single layers; {there}")
    for option, named in (("probes", probes), ("conditions", conditions)):
        if not named or len(set(named)) < len(named):
            raise KeyFault(f"{key}.{option}", "name at least one, each once")
    alike: dict[tuple[int, object], list[str]] = {}
    for number, name in enumerate(conditions):
        place = _place(plan, name, probes, layer, f"{key}.conditions[{number}]")
        alike.setdefault((place, _read(plan, name)), []).append(name)
    for (place, _), names in alike.items():
        if len(probes) * len(names) < 2:
            raise KeyFault(
                f"{key}.conditions",
                f"dimensions are compared on different targets, and those of layer {place} of {names[0]} have one; name other conditions that read the same states, "
                "or several probes of which each has another `target`",
            )
        aims = [Aim(probe, name, sparse[probe].target) for name in names for probe in probes]
        yield DimensionsLookedAt(
            aims=tuple(aims),
            layer=place,
            fits=tuple(plan.find("fit", one.condition, one.probe) for one in aims),
            states=tuple(
                plan.of_condition("features", one.condition) or plan.of_condition("activations", one.condition)
                for one in aims
            ),
            prompts=tuple(plan.find("prompts", one.condition) for one in aims),
        )


def _place(plan: Plan, name: str, probes: Sequence[str], layer: int, key: str) -> int:
    """The layer of a condition that is meant. Raises KeyFault where it is not kept, or a probe is not fitted there."""
    for probe in probes:
        if not plan.has("fit", name, probe):
            raise KeyFault(
                key, f"{probe} is not fitted on {name}; add {{fit_on: {name}, tested_on: [{name}]}} to transfer"
            )
    kept = _layers(plan, name)
    if not -len(kept) <= layer < len(kept) if layer < 0 else layer not in kept:
        raise KeyFault(key, f"layer {layer} of {name} is not kept; kept are {', '.join(map(str, kept))}")
    return kept[layer] if layer < 0 else layer


def _layers(plan: Plan, condition: str) -> tuple[int, ...]:
    wanted, subject = plan.spec.condition(condition).activations, plan.subjects[condition]
    return resolve(wanted.layers, subject.layers, wanted.site_name, subject.only_layers)


def _read(plan: Plan, condition: str) -> object:
    """What tells the dimensions of a condition's states from others'."""
    own = plan.spec.condition(condition)
    return plan.subjects[condition].identity, plain(own.elicit), own.activations.site_name
