"""Measurements: numbers about networks whose insides are at hand, at each stored step of their training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from harness.contracts.kind import Kind

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched

Learnt = Literal["questions", "sequences", "any"]
"""What networks learn."""


class Measurement(Kind, frozen=True, kw_only=True):
    """A number about each of some networks that were trained alike, at one step."""

    folder: ClassVar[str] = "measurements"

    name: str = ""
    """Name in the report; the kind if empty. Two of a kind need names."""

    unit: ClassVar[str] = ""
    """Of the number; empty where it has none."""
    scale: ClassVar[str] = ""
    """`loss` where guessing costs the logarithm of the number of classes and knowing all costs nothing, `loss_without` where that is what is taken
    out, so that it costs more the more is known, `share` where guessing is right once in so many and knowing all always, `r2` where guessing
    explains nothing and knowing all everything; empty where there is no such scale."""

    of_waves: ClassVar[bool] = False
    """Whether it is about waves of the answer, for which the world is to be that of a cyclic group."""

    learnt: ClassVar[Learnt] = "questions"
    """What the networks learn of which it can be measured: questions, all of which are known, or sequences that a process emits."""

    @property
    def title(self) -> str:
        return self.name or self.kind()

    def problem(self, bed: TrainedBed) -> str:
        """Why it cannot be measured of a bed's networks, for the spec's author; empty if it can."""
        if self.learnt != "any" and bed.drawn != (self.learnt == "sequences"):
            learnt, known = ("sequences", "questions") if bed.drawn else ("questions", "sequences")
            return (
                f"{self.title} is of {known}, and the networks of {bed.kind()} learn {learnt}; measure something else"
            )
        if self.of_waves and not bed.cyclic:
            return f"{self.title} is of waves, which only the numbers of a cyclic group have; measure something else"
        return ""

    def measure(self, watched: Watched) -> np.ndarray:
        """The number for each network, float64, (network,)."""
        raise NotImplementedError


class Halfway(msgspec.Struct, frozen=True):
    """The value halfway between that of guessing and that of a network that knows all."""

    value: float
    rising: bool
    """Whether what is known makes it larger."""
    axis: Literal["loss", "share"] = "share"
    """What it is drawn with: losses in nats, or shares from 0 to 1."""
    returns: bool = False
    """Whether guessing is beyond it too, so that only what was on this side of it can have got beyond."""


class Watch(msgspec.Struct, frozen=True):
    """The measurements of one condition's networks over their training."""

    steps: tuple[int, ...]
    values: Mapping[str, np.ndarray]
    """By the measurement's title, float64, (network, step)."""
    halfway: Mapping[str, Halfway]
    """By title, of those that have such a scale."""

    @property
    def networks(self) -> int:
        return len(next(iter(self.values.values())))

    def until(self, step: int) -> Watch:
        """The same up to a stored step."""
        count = sum(1 for one in self.steps if one <= step)
        return Watch(self.steps[:count], {title: own[:, :count] for title, own in self.values.items()}, self.halfway)

    def moved(self, title: str, beyond: Halfway | None = None) -> np.ndarray:
        """The step from which on a measurement is beyond halfway, or beyond another value, and stays so, float64, (network,): NaN for a network that
        does not get there. Between two stored steps it is read off a straight line."""
        import numpy as np

        bar = beyond or self.halfway[title]
        values = self.values[title]
        there = values >= bar.value if bar.rising else values <= bar.value
        steps, found = np.array(self.steps, dtype=np.float64), np.full(len(values), np.nan)
        for network, own in enumerate(there):
            if own.all():
                found[network] = np.nan if bar.returns else steps[0]
            elif own[-1]:
                # The step after the last one that is not there.
                at = len(own) - int(np.argmin(own[::-1]))
                before, after = values[network, at - 1 : at + 1]
                share = (bar.value - before) / (after - before) if np.isfinite(before) and np.isfinite(after) else 1.0
                found[network] = steps[at - 1] + share * (steps[at] - steps[at - 1])
        return found
