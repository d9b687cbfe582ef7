"""Controls: a probe fitted again at one layer for the checks: on shuffled labels, on states without a factor, or with other seeds."""

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
from harness.spec.plain import plain
from harness.store import Artifact, content_key

if TYPE_CHECKING:
    from harness.execution.record import Work


class Refitted(Stage[Scored], frozen=True, kw_only=True):
    """A probe fitted again at one layer, in one of three ways. Checks ask for it while they decide, so that no plan lists it."""

    kind: ClassVar[str] = "refit"

    spec: Spec
    score: Stage[Scored]
    """The same probe's answers as it was fitted on the labels as they are."""
    layers: tuple[int, ...]
    """The one layer, or those that it is fitted on together."""
    shuffles: int = 0
    """Permutations of the training labels that it is fitted on."""
    erase: Erasure | None = None
    """What is taken out of the states first."""
    seeds: int = 0
    """Seeds that it is drawn with, where others are asked for than the spec's."""

    @property
    def place(self) -> tuple[str, ...]:
        return (*self.score.place, *map(str, self.layers), self.said)

    @property
    def label(self) -> str:
        return f"{self.score.label}, {self.said}"

    @property
    def said(self) -> str:
        """How it is fitted again, in words."""
        if self.erase is not None:
            own = self.erase
            times = f", {own.times} times" if own.times > 1 else ""
            return f"without {own.of} by {own.by}{times}"
        return f"{self.shuffles} shuffles" if self.shuffles else f"{self.seeds} seeds"

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.score,)

    @property
    def probe(self) -> Probe:
        """The probe that is fitted."""
        probe = self.spec.probe(self.score.place[2])
        return probe if self.erase is None else msgspec.structs.replace(probe, erase=self.erase)

    def made_from(self) -> Mapping[str, str]:
        fit_on = self.score.place[0]
        return {
            "score": self.score.key,
            "layers": content_key(self.layers),
            **({"shuffles": str(self.shuffles)} if self.shuffles else {}),
            **({} if self.erase is None else {"erase": content_key(plain(self.erase))}),
            **({"seeds": str(self.seeds)} if self.seeds else {}),
            "seed": str(self.spec.condition(fit_on).data.seed),
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        return (*super().runs, *probe_code(self.probe))

    @cached_property
    def key(self) -> str:
        return f"{refits_of(self.score)}{content_key(self.kind, self.ingredients)}"

    def make(self, run: Run, work: Work) -> Scored:
        fit_on, tested_on, _ = self.score.place
        conditions, probe = run.conditions, self.probe
        fitting = _some_layers(conditions, fit_on, self.layers)
        test = conditions.pairs(tested_on, "test", self.layers)
        named = {"fit_on": fit_on, "tested_on": tested_on}
        if self.shuffles:
            seed = self.spec.condition(fit_on).data.seed
            return score_shuffled(probe, fitting, test, self.shuffles, seed, **named, layers=self.layers)
        seeds = range(self.seeds) if self.seeds else self.spec.seeds_of(probe)
        readout, labels = probe.fit(training_pairs(probe, fitting), seeds), conditions.labels(tested_on, "test")
        return score(readout, probe, fitting, test, labels, **named, layers=self.layers)

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

    def shuffled(self, probe: str, fit_on: str, tested_on: str, layer: int | None, shuffles: int) -> Scored:
        """The probe fitted at one layer on shuffled training labels."""
        return self._again(probe, fit_on, tested_on, layer, shuffles=shuffles)

    def erased(self, probe: str, fit_on: str, tested_on: str, layer: int | None, erase: Erasure) -> Scored:
        """The probe fitted at one layer on states without a factor."""
        return self._again(probe, fit_on, tested_on, layer, erase=erase)

    def redrawn(self, probe: str, fit_on: str, tested_on: str, layer: int, seeds: int) -> Scored:
        """The probe drawn at one layer with other seeds than the spec's."""
        return self._again(probe, fit_on, tested_on, layer, seeds=seeds)

    def _again(self, probe: str, fit_on: str, tested_on: str, layer: int | None, **how: Any) -> Scored:
        at = self._run.conditions.read_at(fit_on, tested_on, probe, layer)
        answers = self._run.plan.find("score", fit_on, tested_on, probe)
        return self._run.get(Refitted(spec=self._run.plan.spec, score=answers, layers=at, **how))


def evidence_of(
    run: Run,
    steered: Callable[[Claim], Steered] | None = None,
    noise: NoiseFloor | None = None,
    watches: Mapping[str, Watch] | None = None,
    told: Mapping[str, Mapping[str, Any]] | None = None,
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
        told,
    )
