"""The whole experiment: conditions, probes, where they are fitted and tested, metrics and checks."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from harness.contracts import Claim, Distractor, Measurement, Metric, Probe
from harness.contracts.analysis import Analysis
from harness.spec.analyses import Autopsy, Intervention, LayerRule, SampleEfficiency
from harness.spec.condition import Condition, Part, Slug


class Transfer(Part, frozen=True, kw_only=True):
    """Fit probes on one condition and test them on others."""

    fit_on: str
    """Condition whose training rows are fitted."""
    tested_on: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Conditions whose test rows are scored."""
    probes: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    """Names of the probes that are fitted here, baselines included; all of them if empty. For one that can be fitted on some
    conditions only, such as a detector that must see both classes, or that is of interest on some only."""

    def fits(self, probe: str) -> bool:
        """Whether a probe, by its name, is fitted here."""
        return self.probes is None or probe in self.probes


class Spec(Part, frozen=True, kw_only=True):
    """A whole experiment."""

    name: Slug
    """The report goes to reports/NAME."""
    about: str = ""
    """What is asked, for the head of the report."""
    conditions: tuple[Condition, ...]
    """In the order of the file; one called `main` if the spec has none."""
    distractors: dict[str, Distractor]
    probes: tuple[Probe, ...]
    """Names are unique; baselines included."""
    added: tuple[str, ...] = ()
    """Names of the baselines among them that the spec did not ask for."""
    xors: tuple[tuple[str, ...], ...] = ()
    """Two factors each; see `harness.scoring.score.xor_name` for the name under which they are scored."""
    transfer: tuple[Transfer, ...]
    seeds: Annotated[int, Meta(ge=1)] = 1
    """Seeds of the probes that draw random numbers (see `harness list probes`)."""
    repeats: Annotated[int, Meta(ge=1)] = 1
    """Draws of sample and split."""
    layer: LayerRule | int = "middle"
    """Rule for the layer that summaries and checks look at."""
    metrics: tuple[Metric, ...]
    checks: tuple[Claim, ...]
    autopsy: tuple[Autopsy, ...] = ()
    """Probes to be looked into."""
    interventions: tuple[Intervention, ...] = ()
    """Directions to be acted on, those that checks ask for included."""
    geometry: bool | tuple[str, ...] = False
    """Conditions whose directions and states are drawn: all that are fitted on, some, or none."""
    sample_efficiency: SampleEfficiency | None = None
    """Curves of score against training pairs; none if empty."""
    measurements: tuple[Measurement, ...] = ()
    """What is measured of networks that are trained for a test bed, at each of their steps."""
    analyses: tuple[Analysis, ...] = ()
    """Further analyses, those that have no key of their own."""
    leaderboard: bool = False
    """Whether the report has one table of all methods and conditions, and of what survives what."""
    rows: bool = True
    """Whether files hold single rows: their texts, labels and answers."""
    file: str = ""
    """Where it was read from; not part of any key."""

    def condition(self, name: str) -> Condition:
        return next(c for c in self.conditions if c.name == name)

    def probe(self, name: str) -> Probe:
        """The probe of a name in the report."""
        return next(probe for probe in self.probes if probe.title == name)

    def redrawn(self, number: int) -> Spec:
        """The same experiment on another draw of sample and split, with scores and nothing else: no checks and no analyses."""
        return msgspec.structs.replace(
            self,
            conditions=tuple(condition.redrawn(number) for condition in self.conditions),
            repeats=1, checks=(), autopsy=(), interventions=(), geometry=False, sample_efficiency=None, measurements=(),
            analyses=(), leaderboard=False,
        )  # fmt: skip

    def seeds_of(self, probe: Probe) -> range:
        """Seeds that a probe is fitted with: one only where the seed makes no difference."""
        return range(self.seeds if probe.seeded else 1)

    def transfers(self, probe: str | None = None) -> list[tuple[str, str]]:
        """(fitted on, tested on), each once, in order; those where a probe is fitted, if one is named."""
        pairs = (
            (transfer.fit_on, tested)
            for transfer in self.transfer
            if probe is None or transfer.fits(probe)
            for tested in transfer.tested_on
        )
        return list(dict.fromkeys(pairs))

    def distractors_of(self, condition: Condition) -> dict[str, Distractor]:
        """All distractors by name, with the options that they have in this condition."""
        return {**self.distractors, **condition.altered}
