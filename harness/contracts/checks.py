"""Metrics, which score answers, and checks, which decide claims about scores by evidence."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta

from harness.contracts.kind import Kind, options
from harness.contracts.probes import Answers
from harness.contracts.targets import TargetKind, TargetKindName
from harness.maths.estimate import Estimate, Measured

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence, ProbeEvidence


NAMED = ("probe", "condition", "target", "measurement")


@cache
def named_by(check: type[Kind]) -> Mapping[str, str]:
    """The kind of name in each of the options of a check, or an analysis, that name something of the spec: {'probe': 'probe', 'over': 'target'}."""
    found = {option.name: named(option.type) for option in options(check)}
    return {name: what for name, what in found.items() if what}


def named(hint: Any) -> str:
    """What an option of this type names: `condition`, `probe`; empty if nothing of the spec."""
    extra = next((meta.extra for meta in get_args(hint) if isinstance(meta, Meta) and meta.extra), {})
    return extra.get("names") or next(filter(None, map(named, get_args(hint))), "")


class Metric(Kind, frozen=True):
    """A score of a probe's answers against the labels of one factor."""

    folder: ClassVar[str] = "metrics"

    targets: ClassVar[tuple[TargetKindName, ...]] = ("binary",)
    """Kinds of target that it measures."""
    unit: ClassVar[str] = ""
    chance: ClassVar[float | None] = None
    """Value of an uninformed answer, for the figures; of a binary target where it depends on the number of classes."""
    higher_is_better: ClassVar[bool] = True
    labelled: ClassVar[bool] = True
    """Whether it depends on labels. One that does not is measured on the answers as fitted and reported once, under
    `truth`."""

    chance_is_best: ClassVar[bool] = False
    """Whether chance is, of what is not binary, what the best uninformed answer scores: others know as little and score less."""

    def chance_on(self, labels: np.ndarray, kind: TargetKind) -> float | None:
        """Value of an uninformed answer to these labels, as `measure` has them, of a target of a kind: `chance`, unless it depends on them."""
        del labels, kind
        return self.chance

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of the metrics that are always reported together with this one."""
        return ()

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        """Answers' signs are already resolved on training rows. `group` is (row,) of integers.

        Of a binary target `labels` is (row,) of 0/1, and the answers are in `score`. Of any other the answers are in `outputs`; `labels` is
        (row,) of indices for classes, and (row, component) of float32 for a number or a vector.
        None when the probe does not give what the metric needs (no probabilities, one class only).
        """
        raise NotImplementedError


class LawMetric(Metric, frozen=True):
    """A score of how answers go together. It is reported once, under `truth`, on answers whose sign was resolved for it."""

    def measure(
        self, answers: Answers, labels: np.ndarray, group: np.ndarray, relations: Mapping[str, np.ndarray] | None = None
    ) -> Measured | None:
        """`relations` by law, (relation, member), indices of rows. None when no law of the metric's is among them."""
        raise NotImplementedError


ProbeName = Annotated[str, Meta(extra={"names": "probe"})]
"""An option of a check that names a probe of the spec, one of its conditions, or what a probe is scored on."""


ConditionName = Annotated[str, Meta(extra={"names": "condition"})]


TargetName = Annotated[str, Meta(extra={"names": "target"})]


MeasurementName = Annotated[str, Meta(extra={"names": "measurement"})]


Finding = Literal["pass", "fail", "inconclusive"]


class Judgement(msgspec.Struct, frozen=True):
    """The decision of a check, with its number and its reason."""

    finding: Finding
    estimate: Estimate
    threshold: float
    why: str
    """One sentence: the statistic, the layer, the numbers, and how the finding follows from the interval."""


ALL_LAYERS = "all"
"""Stands in tables for the layer of what has none; in files nothing stands there."""


class LayerChoice(msgspec.Struct, frozen=True):
    """The layer that summaries and checks look at; as text, what the report says of it: "24 (best validation AUROC)"."""

    index: int
    """Place on the layer axis."""
    layer: int | None
    """The layer's number; None for a probe that has no layers."""
    rule: str
    """The rule that chose it, in words."""

    def __str__(self) -> str:
        return f"{ALL_LAYERS if self.layer is None else self.layer} ({self.rule})"


class Fits(msgspec.Struct, frozen=True):
    """Every fit of a probe at one layer, kept or not."""

    loss: np.ndarray
    """Training loss, (seed, restart)."""
    accuracy: np.ndarray
    """Accuracy on test rows, each fit's sign resolved on training rows, (seed, restart)."""


class Steered(msgspec.Struct, frozen=True):
    """How far the network's own answer follows when states are moved along a direction, and along random ones."""

    along: Measured
    """Change of the log-odds of answers[1] per standard deviation, towards what the probe says is answers[1]: (1, 1) and
    (1, 1, row)."""
    at_random: np.ndarray
    """The same for random directions of the same length, (direction,)."""
    there: Measured | None
    """The same as `along` for the difference of the class means, by labels of training rows, of the very states that are moved: the
    known direction that should act most. None where it cannot be had."""
    where: str
    """The layer and the tokens, in words."""


class Claim(Kind, frozen=True, kw_only=True):
    """A claim about one condition, decided by an interval: pass, fail or inconclusive. What it has of no probe is empty."""

    folder: ClassVar[str] = "checks"

    expect: Literal["pass", "fail", "inconclusive"] | None = None
    """The finding that the spec's author expects; another one is exit code 1."""
    name: str = ""
    """Name in the report; the kind if empty."""
    condition: ConditionName = "main"
    """Condition that is looked at; `main` is the only one of a spec without conditions."""

    probe: ClassVar[str] = ""
    fit_on: ClassVar[str | None] = None

    of_seeds: ClassVar[bool] = True
    """Whether a few seeds of a probe that draws random numbers leave it inconclusive. Not so where it draws as many as it needs, counts
    something else than seeds, or decides without sampling."""

    of_two: ClassVar[bool] = False
    """Whether it compares answers of two values, row by row: there is nothing to compare where the truth is of another kind."""

    also_at: ClassVar[tuple[int, ...]] = ()
    """Layers that it looks at besides its own."""
    asks_of: ClassVar[str] = ""
    """The analysis whose findings it is about, which the spec must ask for; empty for one that is about scores or measurements."""

    claim: ClassVar[str] = ""
    """The claim in words, with {probe}, {condition} and the other options to fill in."""

    def refers(self) -> Mapping[str, tuple[str, ...]]:
        """Names in its options that must exist in the spec, by what they name: `probe`, `condition`, `target`."""
        found: dict[str, dict[str, None]] = {what: {} for what in NAMED}
        for option, what in named_by(type(self)).items():
            value = getattr(self, option)
            found[what] |= dict.fromkeys(value if isinstance(value, tuple) else (value,) if value else ())
        return {what: tuple(names) for what, names in found.items()}

    def runs(self, fitted: str) -> tuple[tuple[str, str], ...]:
        """The transfers that it looks at: (fitted on, tested on), all of which must be in `transfer`. `fitted` is where its probe is fitted."""
        return ()

    def intervention(self) -> Mapping[str, Any] | None:
        """Options of the intervention whose outcome it asks for, where the probe is fitted aside; None if it needs none.

        The spec's own is used if it has one like it, else it is made with these options and the defaults."""
        return None

    def needs(self, fitted: str) -> tuple[tuple[str, str, str], ...]:
        """The probes that must be there, (probe, fitted on, tested on): all that it names wherever it looks, unless a check says less."""
        return tuple((probe, *run) for probe in self.refers()["probe"] for run in self.runs(fitted))

    def decide(self, evidence: Evidence) -> Judgement:
        """The finding, with the sentence that says why."""
        raise NotImplementedError


class Check(Claim, frozen=True, kw_only=True):
    """A claim about one probe on the test rows of one condition, decided by an interval: pass, fail or inconclusive."""

    layer: int | str | None = None
    """Layer to judge at: a number, or a rule (see `layer` of the spec); the spec's own rule if empty."""
    probe: ProbeName  # type: ignore[misc]
    """Name of the probe that the claim is about."""
    condition: ConditionName = "main"
    """Condition whose test rows are looked at; `main` is the only one of a spec without conditions."""
    fit_on: ConditionName | None = None  # type: ignore[misc]
    """Condition that the probe was fitted on; the same one if empty. The pair must be in the spec's `transfer`."""

    @property
    def subject(self) -> str:
        """The probe and its conditions in words, for a `why`."""
        fitted = "" if self.fit_on in (None, self.condition) else f" (fitted on {self.fit_on})"
        return f"{self.probe}{fitted} on {self.condition}"

    def runs(self, fitted: str) -> tuple[tuple[str, str], ...]:
        """Those of its probe; any other condition that it names is fitted on itself."""
        others = (name for name in self.refers()["condition"] if name not in (self.condition, fitted))
        return (fitted, self.condition), *((name, name) for name in others)

    def own(self, evidence: Evidence) -> ProbeEvidence:
        """The evidence of its probe, where and at the layer that it asks for."""
        return evidence.of(self.probe, self.condition, fit_on=self.fit_on, layer=self.layer)
