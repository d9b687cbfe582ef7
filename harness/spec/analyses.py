"""What looks further into probes that are fitted: autopsies, interventions, sample efficiency; and the rule for their layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from harness.spec.condition import Part

LayerRule = Literal["middle", "last", "validation", "lowest_loss", "earliest_informative"]


class Autopsy(Part, frozen=True, kw_only=True):
    """A look at what a probe latched on to: its answers against every known factor and what can be seen in the text."""

    probe: str
    """Name of the probe, at the layer that summaries look at."""
    condition: str | None = None
    """Condition whose test rows are looked at; every one that the probe is tested on if empty."""
    fit_on: str | None = None
    """Condition that it was fitted on; every one of `transfer` if empty."""
    permutations: Annotated[int, Meta(ge=99, le=100_000)] = 1000
    """Permutations behind the p-values. The smallest p-value is one over their number plus one."""
    agreement: Annotated[float, Meta(gt=0.5, le=1)] = 0.9
    """Share of rows on which seeds must agree, up to sign and on average, to count as one solution. A larger one tells more
    solutions apart."""
    rows: Annotated[int, Meta(ge=0, le=100)] = 5
    """How many rows to show that each solution is surest of, and as many where it is surest and wrong. They stand in the
    report with their text: 0 for data that must not be shown."""

    def places(self, transfers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of the transfers, (fit_on, tested_on), where it looks."""
        return [
            (fitted, tested)
            for fitted, tested in transfers
            if self.condition in (None, tested) and self.fit_on in (None, fitted)
        ]


class Intervention(Part, frozen=True, kw_only=True):
    """The network forwarded again with the states at a probe's layer altered along its direction: does its own answer follow?

    What is altered is the state that the answer is produced from. A probe of contrast pairs reads the answer's own token,
    which stands after the place where the network chose it: there, nothing can change the choice any more. So the direction
    is taken from there and applied before the answer. Where it does nothing, the network may still use it for what follows.
    """

    probe: str
    """Name of the probe whose direction is meant: at the layer that summaries look at, of its first seed. The weights of a
    logistic regression need not be the direction in which states vary; try `mean_difference` beside it."""
    condition: str | None = None
    """Condition whose test rows are forwarded again; every one that the probe is tested on if empty."""
    fit_on: str | None = None
    """Condition that the probe was fitted on; every one of `transfer` if empty."""
    asked_in: str | None = None
    """Condition of contrast pairs whose prompts are forwarded, altered along the direction that was found elsewhere; `condition` itself if
    empty. For probes of statements, of which nobody asks anything: this one asks about them."""
    by: Literal["steer", "erase"] = "steer"
    """`steer` adds the direction to the states and takes it away; `erase` puts every state's component along it to the mean of
    training rows in the same place, so that it tells nothing any more."""
    token: Literal["question", "all"] = "question"
    """Where: at the last token before the answer, from whose state the answer is read, or at all tokens before the answer. All
    is the stronger intervention, and costs the upper layers of whole prompts for every strength and direction."""
    layer: LayerRule | int | None = None
    """Layer to alter: a number, or a rule; the spec's own rule if empty."""
    strengths: Annotated[tuple[Annotated[float, Meta(gt=0, le=1000)], ...], Meta(min_length=1, max_length=16)] = (
        1,
        2,
        4,
    )
    """How far `steer` goes, both ways, in standard deviations of the training states along the direction. Within about 4,
    states stay near to what the network knows; further out anything may happen."""
    random: Annotated[int, Meta(ge=3, le=256)] = 8
    """Random directions of the same length, at right angles to the probe's, that are tried for comparison. More of them tell
    more exactly what any direction does, and cost as much each as the probe's own."""
    rows: Annotated[int, Meta(ge=4)] | None = 200
    """At most so many test pairs, drawn by `seed`; null for all. A larger number keeps the pairs of a smaller one."""
    seed: int = 0
    """Seed of the random directions and of the choice of rows."""

    def places(self, transfers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of the transfers, (fit_on, tested_on), where it intervenes."""
        return [
            (fitted, tested)
            for fitted, tested in transfers
            if self.condition in (None, tested) and self.fit_on in (None, fitted)
        ]

    @property
    def title(self) -> str:
        """What is done, short: `steer`, `erase at all tokens, layer 3`."""
        tokens = " at all tokens" if self.token == "all" else ""
        tokens += "" if self.asked_in is None else f" in {self.asked_in}"
        return f"{self.by}{tokens}" + ("" if self.layer is None else f", layer {self.layer}")

    def alike(self, other: Intervention) -> bool:
        """Whether both do the same thing in the same way, wherever that is."""
        return all(
            getattr(self, name) == getattr(other, name) for name in ("probe", "asked_in", "by", "token", "layer")
        )


class SampleEfficiency(Part, frozen=True, kw_only=True):
    """Score against the number of training pairs: probes fitted again on nested random subsets of the training rows."""

    probes: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Names of the probes. Those with labels learn from as many labels as there are pairs; the others take no more from them
    than their sign."""
    rows: Annotated[tuple[Annotated[int, Meta(ge=2)], ...], Meta(min_length=1)] = (8, 16, 32, 64, 128, 256)
    """Sizes of the subsets, in contrast pairs, half of each label. What the training rows cannot fill is left out; all of them
    together stand at the end of every curve."""
    draws: Annotated[int, Meta(ge=1, le=1000)] = 5
    """How often a subset of each size is drawn. A draw's larger subsets hold its smaller ones, so that a curve rises for no
    other reason than more rows. More draws make the intervals narrower and take as many times as long."""
    fit_on: tuple[str, ...] = ()
    """Conditions whose training rows subsets are drawn from; all of `transfer` if empty."""
    tested_on: tuple[str, ...] = ()
    """Conditions whose test rows are scored, always the same ones; all of `transfer` if empty."""

    def places(self, transfers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of the transfers, (fit_on, tested_on), whose curves are drawn."""
        return [
            (fitted, tested)
            for fitted, tested in transfers
            if fitted in (self.fit_on or (fitted,)) and tested in (self.tested_on or (tested,))
        ]
