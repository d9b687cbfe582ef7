"""What checks of one probe have in common: which probe, where, on what metric, and how an interval decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from harness.contracts import Check, Evidence, Finding, Judgement, LayerChoice
from harness.errors import CheckError
from harness.estimate import Estimate, Measured


class OfProbe(Check, frozen=True, kw_only=True):
    """A claim about one probe on the test rows of one condition."""

    probe: str
    """Name of the probe that the claim is about."""
    condition: str = "main"
    """Condition whose test rows are looked at; `main` is the only one of a spec without conditions."""
    fit_on: str | None = None
    """Condition that the probe was fitted on; the same one if empty. The pair must be in the spec's `transfer`."""

    def refers(self) -> Mapping[str, tuple[str, ...]]:
        conditions = (self.condition,) if self.fit_on is None else (self.condition, self.fit_on)
        return {"probe": (self.probe,), "condition": conditions, "target": ()}

    @property
    def subject(self) -> str:
        """The probe and where it stands, for a `why`."""
        fitted = "" if self.fit_on in (None, self.condition) else f" (fitted on {self.fit_on})"
        return f"{self.probe}{fitted} on {self.condition}"

    def chosen(self, evidence: Evidence) -> LayerChoice:
        """The layer that is judged."""
        return evidence.layer_of(self.probe, self.condition, fit_on=self.fit_on, layer=self.layer)


class OfScore(OfProbe, frozen=True, kw_only=True):
    """A claim about one probe's score on a metric."""

    metric: Literal["accuracy", "auroc"] = "accuracy"
    """`accuracy` judges the answers, threshold included; `auroc` only their order, which is fairer to a probe whose
    threshold is off."""

    def measured(self, evidence: Evidence, *, target: str = "truth", shuffles: int = 0) -> Measured:
        """The probe's score at the chosen layer."""
        return evidence.measure(
            self.probe,
            self.condition,
            metric=self.metric,
            target=target,
            fit_on=self.fit_on,
            layer=self.layer,
            shuffles=shuffles,
        )


class OfTarget(OfScore, frozen=True, kw_only=True):
    """A claim about one probe's score on the truth, or on anything else that the spec scores."""

    target: str = "truth"
    """What is looked for: the truth, another factor, or an XOR that the spec declares, such as `truth^word`."""

    def refers(self) -> Mapping[str, tuple[str, ...]]:
        return {**super().refers(), "target": (self.target,)}

    @property
    def on_target(self) -> str:
        """For a `why`: nothing for the truth, which is what is meant where nothing is said."""
        return "" if self.target == "truth" else f" on {self.target}"


def above(estimate: Estimate, threshold: float) -> Finding:
    """pass where the whole interval is above the threshold, fail where it is nowhere above it, else inconclusive."""
    if estimate.low > threshold:
        return "pass"
    if estimate.high <= threshold:
        return "fail"
    return "inconclusive"


def at_least(estimate: Estimate, threshold: float) -> tuple[Finding, str]:
    """pass where the whole interval is at the threshold or above, fail where it is wholly below, and the rule in words."""
    bar = f"{threshold:g}"
    if estimate.low >= threshold:
        return "pass", f"the whole interval is at {bar} or above"
    if estimate.high < threshold:
        return "fail", f"the whole interval is below {bar}"
    return "inconclusive", f"{bar} lies within the interval"


def judged(
    finding: Finding, estimate: Estimate, threshold: float, statement: str, rule: str, draws: str = "seeds"
) -> Judgement:
    """A judgement whose `why` is the statement, the interval and how the finding follows from it by `rule`.

    Without an interval it is inconclusive, whatever `finding` says. `draws` is what the estimate's seeds are.
    """
    if estimate.why:
        value = f"{number(estimate.value)} without an interval" if math.isfinite(estimate.value) else "no value"
        why = f"{statement}: {value} ({estimate.why}), so nothing can be decided."
        return Judgement("inconclusive", estimate, threshold, why)
    seeds = f", {estimate.seeds} {draws}" if estimate.seeds > 1 else ""
    interval = f"95 % interval {number(estimate.low)} to {number(estimate.high)}, n = {estimate.n}{seeds}"
    return Judgement(finding, estimate, threshold, f"{statement}: {number(estimate.value)} ({interval}); {rule}.")


def number(value: float) -> str:
    """Three decimals, a true minus sign, no minus before a zero."""
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def different(name: str, first: str, second: str) -> None:
    """Raises CheckError where a check would compare something with itself."""
    if first == second:
        raise CheckError(f'{name}: "{first}" would be compared with itself; name another one')
