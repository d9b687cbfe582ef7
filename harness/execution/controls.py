"""Controls: a probe fitted again at one layer, on shuffled labels or on states without a factor, for the checks."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from harness.contracts import Check, Erasure, Steered
from harness.execution.run import Run
from harness.fitting.fit import score, score_shuffled, training_pairs
from harness.scoring.evidence import Evidence
from harness.scoring.score import Scored


class Controls:
    """Fits probes again for the evidence of one run; see `harness.scoring.evidence.Refit` and `Erase`."""

    def __init__(self, run: Run):
        self._run = run
        self._conditions = run.conditions

    def shuffled(self, probe: str, fit_on: str, tested_on: str, layer: int | None, shuffles: int) -> Scored:
        """The probe fitted at one layer on shuffled training labels."""
        spec, conditions = self._run.plan.spec, self._conditions
        at = conditions.layers(fit_on)[:1] if layer is None else (layer,)
        return score_shuffled(
            spec.probe(probe),
            conditions.fitting(fit_on, at),
            conditions.pairs(tested_on, "test", at),
            shuffles,
            spec.condition(fit_on).data.seed,
            fit_on=fit_on,
            tested_on=tested_on,
            layers=at,
        )

    def erased(self, probe: str, fit_on: str, tested_on: str, layer: int, erase: Erasure) -> Scored:
        """The probe fitted at one layer on states without a factor."""
        at, conditions = (layer,), self._conditions
        without = msgspec.structs.replace(self._run.plan.spec.probe(probe), erase=erase)
        fitting = conditions.fitting(fit_on, at)
        return score(
            without.fit(training_pairs(without, fitting), self._run.plan.spec.seeds_of(without)),
            without,
            fitting,
            conditions.pairs(tested_on, "test", at),
            conditions.labels(tested_on, "test"),
            fit_on=fit_on,
            tested_on=tested_on,
            layers=at,
        )


def evidence_of(run: Run, steered: Callable[[Check], Steered] | None = None) -> Evidence:
    """The evidence of a run, for checks and analyses."""
    controls = Controls(run)
    return Evidence(
        run.plan.spec,
        run.conditions.all_scored(),
        run.conditions.all_labels(),
        controls.shuffled,
        controls.erased,
        steered,
    )
