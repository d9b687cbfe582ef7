"""Controls: a probe fitted again at one layer, on shuffled labels or on states without a factor, for the checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.code.entries import probe_code
from harness.contracts import Claim, Erasure, Probe, Steered, Watch
from harness.execution.conditions import Conditions
from harness.execution.run import Run
from harness.fitting.fit import Fitting, score, score_shuffled, training_pairs
from harness.plan.stage import Stage
from harness.scoring.evidence import Evidence
from harness.scoring.noise_floor import NoiseFloor
from harness.scoring.score import Scored
from harness.scoring.stored_scores import load_scored, save_scored
from harness.spec import Spec
from harness.store import Artifact, content_key

if TYPE_CHECKING:
    from harness.execution.record import Work


class Refitted(Stage[Scored], frozen=True, kw_only=True):
    """A probe fitted at one layer on shuffled training labels. Checks ask for it while they decide, so that no plan lists it."""

    kind: ClassVar[str] = "refit"

    spec: Spec
    score: Stage[Scored]
    """The same probe's answers as it was fitted on the labels as they are."""
    layers: tuple[int, ...]
    """The one layer, or those that it is fitted on together."""
    shuffles: int

    @property
    def place(self) -> tuple[str, ...]:
        return (*self.score.place, *map(str, self.layers), str(self.shuffles))

    @property
    def label(self) -> str:
        return f"{self.score.label}, {self.shuffles} shuffles"

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.score,)

    def made_from(self) -> Mapping[str, str]:
        fit_on = self.score.place[0]
        return {
            "score": self.score.key,
            "layers": content_key(self.layers),
            "shuffles": str(self.shuffles),
            "seed": str(self.spec.condition(fit_on).data.seed),
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        return (*super().runs, *probe_code(self.spec.probe(self.score.place[2])))

    @cached_property
    def key(self) -> str:
        return f"{refits_of(self.score)}{content_key(self.kind, self.ingredients)}"

    def make(self, run: Run, work: Work) -> Scored:
        fit_on, tested_on, probe = self.score.place
        conditions = run.conditions
        return score_shuffled(
            self.spec.probe(probe),
            _some_layers(conditions, fit_on, self.layers),
            conditions.pairs(tested_on, "test", self.layers),
            self.shuffles,
            self.spec.condition(fit_on).data.seed,
            fit_on=fit_on,
            tested_on=tested_on,
            layers=self.layers,
        )

    def save(self, made: Scored, folder: Path) -> Mapping[str, Any]:
        return save_scored(made, folder)

    def load(self, artifact: Artifact) -> Scored:
        fit_on, tested_on, probe = self.score.place
        return load_scored(artifact, (fit_on, tested_on, probe))


def _some_layers(conditions: Conditions, fit_on: str, layers: tuple[int, ...]) -> Fitting:
    """The states of a condition at some of its layers. That nothing varies there is no error where it has others."""
    fitting = conditions.fitting(fit_on, layers)
    partial = len(conditions.layers(fit_on)) > len(layers)
    states = {part: msgspec.structs.replace(pairs, partial=partial) for part, pairs in fitting.states.items()}
    return Fitting(states, fitting.labels)


def refits_of(score: Stage[Scored]) -> str:
    """What the keys of a probe's refits begin with."""
    return f"{score.key}-"


class Controls:
    """Fits probes again for the evidence of one run; see `harness.scoring.evidence.Refit`, `Erase` and `Redraw`."""

    def __init__(self, run: Run):
        self._run = run
        self._conditions = run.conditions

    def shuffled(self, probe: str, fit_on: str, tested_on: str, layer: int | None, shuffles: int) -> Scored:
        """The probe fitted at one layer on shuffled training labels."""
        at = self._conditions.read_at(fit_on, tested_on, probe, layer)
        answers = self._run.plan.find("score", fit_on, tested_on, probe)
        return self._run.get(Refitted(spec=self._run.plan.spec, score=answers, layers=at, shuffles=shuffles))

    def erased(self, probe: str, fit_on: str, tested_on: str, layer: int | None, erase: Erasure) -> Scored:
        """The probe fitted at one layer on states without a factor."""
        spec = self._run.plan.spec
        without = msgspec.structs.replace(spec.probe(probe), erase=erase)
        return self._fitted(without, fit_on, tested_on, layer, spec.seeds_of(without))

    def redrawn(self, probe: str, fit_on: str, tested_on: str, layer: int, seeds: int) -> Scored:
        """The probe drawn at one layer with other seeds than the spec's."""
        return self._fitted(self._run.plan.spec.probe(probe), fit_on, tested_on, layer, range(seeds))

    def _fitted(self, probe: Probe, fit_on: str, tested_on: str, layer: int | None, seeds: range) -> Scored:
        conditions = self._conditions
        at = conditions.read_at(fit_on, tested_on, probe.title, layer)
        fitting = _some_layers(conditions, fit_on, at)
        return score(
            probe.fit(training_pairs(probe, fitting), seeds),
            probe,
            fitting,
            conditions.pairs(tested_on, "test", at),
            conditions.labels(tested_on, "test"),
            fit_on=fit_on,
            tested_on=tested_on,
            layers=at,
        )


def evidence_of(
    run: Run,
    steered: Callable[[Claim], Steered] | None = None,
    noise: NoiseFloor | None = None,
    watches: Mapping[str, Watch] | None = None,
) -> Evidence:
    """The evidence of a run, for checks and analyses."""
    controls = Controls(run)
    return Evidence(
        run.plan.spec,
        run.conditions.all_scored(),
        run.conditions.all_labels(),
        controls.shuffled,
        controls.erased,
        controls.redrawn,
        steered,
        noise,
        watches,
    )
