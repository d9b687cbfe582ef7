"""A probe fitted on the training rows of one condition, and its answers on the rows of another.

All fits and answers that are missing of one condition are made together, when the first of them is asked for, so that its states
are read once (`harness.stages.fits_by_layer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from harness.code.entries import probe_code
from harness.contracts import Normaliser, Probe, Readout
from harness.errors import DataError
from harness.machine.jobs import OneProcessJob
from harness.plan.stage import Cost, Stage
from harness.readouts import stored_readouts
from harness.scoring.score import Scored
from harness.scoring.stored_scores import load_scored, save_scored
from harness.spec import Spec
from harness.spec.plain import plain, probe_name
from harness.stages.states_stage import States
from harness.store import Artifact, content_key

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run
    from harness.machine.team import SharedJob


class Fit(Stage[tuple[Readout, Normaliser | None]], frozen=True, kw_only=True):
    """A fitted probe with the normalisation of its states."""

    kind: ClassVar[str] = "fit"
    held: ClassVar[bool] = False
    unit: ClassVar[str] = "layers"

    probe: Probe
    fit_on: str
    states: States
    seeds: range

    @property
    def place(self) -> tuple[str, ...]:
        return self.fit_on, probe_name(self.probe)

    @property
    def label(self) -> str:
        return " · ".join(self.place)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.states,)

    def made_from(self) -> Mapping[str, str]:
        # The name is left out: a renamed probe is answered by what was stored under its old name.
        options = {name: value for name, value in plain(self.probe).items() if name != "name"}
        if options["layers"] is None:
            del options["layers"]
        # Layers together are chosen by validation scores, whose sign is that of the rows which may resolve it.
        together = {} if self.probe.layers is None else {"sign": self.states.condition(self.fit_on).data.sign_on or ""}
        return {
            "probe": content_key(options),
            "seeds": str(len(self.seeds)),
            "states": self.states.key_of(self.fit_on),
            **together,
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        # Answers are made in the same go, and are no part of a fit.
        made = ("stages.fits_by_layer:LayerWork._fitted", "stages.fits_by_layer:LayerWork._join")
        return (*made, type(self).save, type(self).load, *probe_code(self.probe))

    def before(self, run: Run) -> None:
        run.conditions.extracted(self.fit_on)

    def make(self, run: Run, work: Work) -> tuple[Readout, Normaliser | None]:
        fit_together(run, work, [self], [])
        return run.seen(self)

    def save(self, made: tuple[Readout, Normaliser | None], folder: Path) -> Mapping[str, Any]:
        stored_readouts.save_fit(*made, folder)
        return stored_readouts.fit_about(*made)

    def load(self, artifact: Artifact) -> tuple[Readout, Normaliser | None]:
        return stored_readouts.load_fit(artifact)

    def cost(self, run: Run) -> Cost:
        return Cost(rows=len(run.conditions.labels(self.fit_on, "train").group), where="cpu")


class Score(Stage[Scored], frozen=True, kw_only=True):
    """What a fitted probe answers on training, validation and test rows."""

    kind: ClassVar[str] = "score"
    unit: ClassVar[str] = "layers"

    spec: Spec
    fit: Fit
    tested_on: str
    states: States
    """Of the condition that is tested on."""

    @property
    def place(self) -> tuple[str, str, str]:
        return self.fit.fit_on, self.tested_on, probe_name(self.fit.probe)

    @property
    def label(self) -> str:
        fit_on, tested_on, probe = self.place
        return f"{fit_on} → {tested_on} · {probe}"

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.fit, self.states)

    def made_from(self) -> Mapping[str, str]:
        return {
            "fit": self.fit.key,
            "states": self.states.key_of(self.tested_on),
            "sign": self.spec.condition(self.fit.fit_on).data.sign_on or "",
            "xors": content_key(plain(self.spec.xors)),
        }

    def before(self, run: Run) -> None:
        """Makes the states before other processes are called: one that waits for states cannot help to make them."""
        asked = _missing(run, self)
        for stage in asked:
            _check_apart(run, self.fit.fit_on, stage.tested_on)
            _check_spoken(run, stage)
        for condition in dict.fromkeys((self.fit.fit_on, *(stage.tested_on for stage in asked))):
            run.conditions.extracted(condition)

    def make(self, run: Run, work: Work) -> Scored:
        fit_together(run, work, [], _missing(run, self))
        return run.seen(self)

    def save(self, made: Scored, folder: Path) -> Mapping[str, Any]:
        return save_scored(made, folder)

    def load(self, artifact: Artifact) -> Scored:
        return load_scored(artifact, self.place)

    def shown(self, run: Run) -> tuple[str, str]:
        names = list(dict.fromkeys(stage.place[2] for stage in _missing(run, self)))
        return "fit", f"{self.fit.fit_on} · {names[0] if len(names) == 1 else f'{len(names)} probes'}"

    def assist(self, run: Run, job: SharedJob) -> None:
        from harness.stages.fits_by_layer import Item, LayerWork

        keys = set(job.about["orders"]["scores"])
        asked = [stage for stage in run.plan.of("score") if stage.key in keys]
        items = msgspec.convert(job.about["orders"]["items"], list[Item])
        LayerWork(run, [], asked).do(job, items, lambda done: None)

    def cost(self, run: Run) -> Cost:
        return Cost(rows=len(run.conditions.labels(self.tested_on, "test").group), where="cpu")


def fits_asked(spec: Spec, states: Mapping[str, States]) -> Iterator[Fit]:
    """Every probe on every condition that it is fitted on."""
    for transfer in spec.transfer:
        for probe in spec.probes:
            if transfer.fits(probe_name(probe)):
                yield Fit(
                    probe=probe, fit_on=transfer.fit_on, states=states[transfer.fit_on], seeds=spec.seeds_of(probe)
                )


def scores_asked(spec: Spec, states: Mapping[str, States], fits: Mapping[tuple[str, ...], Fit]) -> Iterator[Score]:
    """Every fit on every condition that it is tested on."""
    for transfer in spec.transfer:
        for probe in spec.probes:
            if transfer.fits(probe_name(probe)):
                fit = fits[transfer.fit_on, probe_name(probe)]
                for tested_on in transfer.tested_on:
                    yield Score(spec=spec, fit=fit, tested_on=tested_on, states=states[tested_on])


def _missing(run: Run, asked: Score) -> list[Score]:
    """Answers of probes that are fitted on the same condition and that the store has not; those asked for among them."""
    return [
        stage
        for stage in run.plan.of("score")
        if stage.fit.fit_on == asked.fit.fit_on and (stage is asked or not run.store.has(stage.kind, stage.key))
    ]


def fit_together(run: Run, work: Work, fits: Sequence[Fit], scores: Sequence[Score]) -> None:
    """Fits and scores probes of one condition, stores what comes of each and notes what it took."""
    from harness.stages.fits_by_layer import LayerWork

    layered = LayerWork(run, fits, scores)
    items = layered.items(1 if run.team is None else run.team.size)
    work.total(sum(len(item.layers) * len(item.probes) for item in items))
    orders = {"scores": [stage.key for stage in scores], "items": msgspec.to_builtins(items)}
    # A fit by itself is one that the store has lost, and that an analysis asks for: the others do not wait for it.
    job = run.share(scores[0], orders) if scores else OneProcessJob()
    said = layered.do(job, items, work.to)
    layered.finish(items, [each["seconds"] for each in said])


def _check_spoken(run: Run, asked: Score) -> None:
    """Raises DataError where the network's own answer is asked for, and an answer has no token before it."""
    import polars as pl

    probe = asked.fit.probe
    if probe.reads != "log_odds":
        return
    for condition in dict.fromkeys((asked.fit.fit_on, asked.tested_on)):
        first = run.conditions.table(condition).frame.filter(pl.col("answer_start") == 0)
        if len(first):
            remedy = "write `baselines: false`" if probe.title in run.plan.spec.added else f"take {probe.title} out"
            raise DataError(
                f'conditions.{condition}.prompt: the prompt of the example "{first["example"][0]}" begins with the answer, so that no '
                f"token stands before it to predict it; put something before it, or {remedy}"
            )


def _check_apart(run: Run, fit_on: str, tested_on: str) -> None:
    """Raises DataError where rows are chosen or divided so that a group is learnt from in one condition and tested in another."""
    conditions = run.conditions
    if fit_on == tested_on:
        return
    learnt, tested = conditions.labels(fit_on, "train").group, conditions.labels(tested_on, "test").group
    if shared := len(np.intersect1d(learnt, tested)):
        targets = [conditions.of(name).data.target for name in (fit_on, tested_on)]
        remedy = (
            "give both conditions the same data.seed and data.split, and both a data.where ({} keeps all rows)"
            if targets[0] == targets[1]
            else "rows are divided by their target, so that two targets of the same rows are two splits: make the other one a factor of the data, and "
            "fit a probe with that `target` in the same condition"
        )
        raise DataError(f"transfer: {shared} groups of rows are fitted in {fit_on} and tested in {tested_on}; {remedy}")
