"""The stage that tries one monitor at the thresholds of all control sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from harness.errors import DataError, KeyFault
from harness.execution.controls import evidence_of
from harness.maths.alarms import raised
from harness.maths.estimate import Estimate, Measured, over_seeds
from harness.maths.monitoring import Monitored, monitored, threshold
from harness.plan.plan import Plan
from harness.plan.stage import Stage
from harness.scoring.score import Scored
from harness.spec import Spec
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.analyses.thresholds import Thresholds
    from harness.execution.record import Work
    from harness.execution.run import Run
    from harness.scoring.evidence import ProbeEvidence

NUMBERS = tuple(Monitored.__struct_fields__)
POINTS = 25
"""Rates of a ROC curve, evenly apart in their logarithm."""
BINS = 10
"""Of probabilities, of equal width."""


class Tried(msgspec.Struct, frozen=True):
    """What came of one monitor."""

    alarms: pl.DataFrame
    """A row for each control set and condition: the threshold, and each of NUMBERS, with intervals, which are empty where there is none; `why` says why."""
    roc: pl.DataFrame
    """A row for each control set, each condition with lies, and rate: the recall there."""
    calibration: pl.DataFrame
    """A row for each condition with lies and honest rows and each bin that has rows: the mean probability of a lie that the monitor claims, and the share of lies."""


class MonitorTried(Stage[Tried], frozen=True, kw_only=True):
    """One monitor at the thresholds of all control sets, in all conditions."""

    kind: ClassVar[str] = "thresholds"

    spec: Spec
    probe: str
    fit_on: str
    conditions: tuple[str, ...]
    controls: tuple[str, ...]
    rate: float
    scores: Mapping[str, Stage[Scored]]
    """By the condition that is tested on."""

    @property
    def place(self) -> tuple[str, ...]:
        return self.fit_on, self.probe

    @property
    def label(self) -> str:
        return " · ".join(self.place)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return tuple(self.scores.values())

    def made_from(self) -> Mapping[str, str]:
        return {
            "scores": content_key([[tested, stage.key] for tested, stage in self.scores.items()]),
            "options": content_key([self.conditions, self.controls, self.rate]),
            "layer rule": str(self.spec.layer),
        }

    def make(self, run: Run, work: Work) -> Tried:
        import polars as pl

        evidence = evidence_of(run)
        first = evidence.of(self.probe, self.conditions[0], fit_on=self.fit_on).layer.layer
        found = {name: _Side(evidence.of(self.probe, name, fit_on=self.fit_on, layer=first)) for name in self.scores}
        alarms, roc, calibrated = [], [], []
        for control in self.controls:
            for condition in self.conditions:
                names = {"probe": self.probe, "fit_on": self.fit_on, "control": control, "condition": condition}
                alarms.append({**names, **_at(found[condition], found[control], self.rate, same=condition == control)})
                roc += [{**names, **point} for point in _curve(found[condition], found[control], self.rate)]
        for condition in self.conditions:
            names = {"probe": self.probe, "fit_on": self.fit_on, "condition": condition}
            calibrated += [{**names, **one} for one in _bins(found[condition])]
        work.counts["rows"] = sum(len(side.lies) for side in found.values())
        rows = (alarms, roc, calibrated)
        return Tried(*(pl.DataFrame(own, schema=schema) for own, schema in zip(rows, _schemas(), strict=True)))

    def save(self, made: Tried, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames(msgspec.structs.asdict(made), folder)

    def load(self, artifact: Artifact) -> Tried:
        return Tried(**reading.load_frames(artifact, dict(zip(Tried.__struct_fields__, _schemas(), strict=True))))


def stages(plan: Plan, asked: Thresholds) -> Iterator[MonitorTried]:
    """One for each monitor. Raises KeyFault where it is not tested in one of the conditions."""
    tested: dict[str, list[str]] = {}
    for stage in plan.of("score"):
        fitted, name, probe = stage.place
        if fitted == asked.fit_on:
            tested.setdefault(probe, []).append(name)
    controls = tuple(dict.fromkeys(asked.controls)) or (asked.fit_on,)
    everywhere = (name for names in tested.values() for name in names)
    conditions = tuple(dict.fromkeys(asked.conditions or everywhere))
    places = tuple(dict.fromkeys((*conditions, *controls)))
    for probe in dict.fromkeys(asked.probes or [one for one in tested if set(places) <= set(tested[one])]):
        for name in places:
            if name not in tested.get(probe, ()):
                raise KeyFault(
                    "analyses",
                    f"thresholds: {probe} is not fitted on {asked.fit_on} and tested on {name}; add {{fit_on: {asked.fit_on}, tested_on: [{name}]}} to transfer",
                )
        yield MonitorTried(
            spec=plan.spec,
            probe=probe,
            fit_on=asked.fit_on,
            conditions=conditions,
            controls=controls,
            rate=asked.rate,
            scores={name: plan.find("score", asked.fit_on, name, probe) for name in places},
        )


def assembled(run: Run, made: Sequence[Stage[Tried]]) -> tuple[pl.DataFrame, ...]:
    """The three tables of all monitors."""
    import polars as pl

    each = [run.get(stage) for stage in made]
    empty = (pl.DataFrame(schema=schema) for schema in _schemas())
    return tuple(
        pl.concat([none, *(getattr(one, name) for one in each)])
        for name, none in zip(Tried.__struct_fields__, empty, strict=True)
    )


class _Side:
    """One condition's test rows: what the monitor says of them, and which of them are lies."""

    def __init__(self, own: ProbeEvidence):
        answers = own.answers()
        labels = own.labels()
        if labels.ndim != 1 or not own.about_truth or answers.outputs is not None:
            raise DataError(
                "thresholds: a monitor answers whether something is a lie; name conditions and probes whose truth has two values"
            )
        self.layer = own.layer.layer
        self.scores, self.probability = answers.score.astype(np.float64), answers.probability
        self.lies, self.group = labels == 1, own.groups

    @property
    def honest(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores (seed, 1, row) and groups of the rows that set a threshold."""
        return self.scores[..., ~self.lies], self.group[~self.lies]


def _at(side: _Side, control: _Side, rate: float, *, same: bool) -> dict[str, Any]:
    """Threshold and numbers; where a control set is tried on itself, false alarms are what the rate makes them, and have no interval."""
    others, group = control.honest
    bound, found = threshold(others, group, rate), monitored(side.scores, side.lies, side.group, others, group, rate)
    row: dict[str, Any] = {
        "rate": rate,
        "layer": side.layer,
        "lies": int(side.lies.sum()),
        "honest": int((~side.lies).sum()),
        "control_rows": len(group),
        "why": "",
        **_told("threshold", bound),
    }
    if bound is None or found is None:
        return {**row, "why": f"{len(group)} control rows, of which none may pass"}
    for name in NUMBERS:
        measured: Measured | None = getattr(found, name)
        own = None if measured is None else over_seeds(measured).one(0)
        if same and own is not None and name != "recall":
            own = msgspec.structs.replace(own, low=np.nan, high=np.nan, why="")
        row |= _told(name, own)
        row["why"] = row["why"] or ("" if own is None else own.why)
    return row


def _told(name: str, found: Estimate | None) -> dict[str, float | None]:
    ends = (None, None, None) if found is None else (found.value, found.low, found.high)
    numbers = (None if end is None or np.isnan(end) else float(end) for end in ends)
    return dict(zip((name, f"{name}_low", f"{name}_high"), numbers, strict=True))


def _curve(side: _Side, control: _Side, rate: float) -> Iterator[dict[str, Any]]:
    """The recall at rates from that of one control row on; without an interval where too few groups may pass."""
    others, group = control.honest
    if not side.lies.any() or not len(group):
        return
    least = 1 / len(group)
    rates = np.geomspace(least, 1.0, POINTS).tolist() if least < 1 else []
    for own in sorted({*rates, rate} if rate >= least else rates):
        found = raised(side.scores[..., side.lies], side.group[side.lies], others, group, own)
        if found is not None:
            yield {"rate": own, "asked": own == rate, **_told("recall", over_seeds(found).one(0))}


def _bins(side: _Side) -> Iterator[dict[str, Any]]:
    """Of all seeds together; nothing where the monitor claims no probability, or all rows have one answer."""
    if side.probability is None or side.lies.all() or not side.lies.any():
        return
    claimed = side.probability[:, 0].astype(np.float64)
    place = np.minimum(claimed * BINS, BINS - 1).astype(np.int64)
    for number in range(BINS):
        inside = place == number
        rows = inside.any(axis=0)
        if not rows.any():
            continue
        # A row counts as often as there are seeds that put it here.
        weight = inside[:, rows].sum(axis=0)
        scaled = weight * (len(weight) / weight.sum())
        share = float(np.average(side.lies[rows], weights=weight))
        spread = scaled * (side.lies[rows] - share)
        found = Measured(np.array([[share]]), spread[None, None], side.group[rows], 0.0, 1.0)
        mean = float(claimed[inside].mean())
        yield {
            "bin": number / BINS,
            "claimed": mean,
            "rows": int(rows.sum()),
            **_told("share", over_seeds(found).one(0)),
        }


def _schemas() -> tuple[dict[str, Any], ...]:
    import polars as pl

    def numbers(*names: str) -> dict[str, Any]:
        return {f"{name}{end}": pl.Float64() for name in names for end in ("", "_low", "_high")}

    place: dict[str, Any] = {"probe": pl.String(), "fit_on": pl.String()}
    tried = {**place, "control": pl.String(), "condition": pl.String()}
    counts = dict.fromkeys(("layer", "lies", "honest", "control_rows"), pl.Int64())
    return (
        {**tried, "rate": pl.Float64(), **counts, "why": pl.String(), **numbers("threshold", *NUMBERS)},
        {**tried, "rate": pl.Float64(), "asked": pl.Boolean(), **numbers("recall")},
        {
            **place,
            "condition": pl.String(),
            "bin": pl.Float64(),
            "claimed": pl.Float64(),
            "rows": pl.Int64(),
            **numbers("share"),
        },
    )
