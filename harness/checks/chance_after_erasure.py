"""Chance where the knowledge was taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.checks._judging import chance
from harness.checks._scores import OfScore
from harness.contracts import Erasure, Judgement, TargetName

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class ChanceAfterErasure(OfScore, frozen=True, kw_only=True):
    """Fitted again on states that a factor was taken out of, the probe scores chance on it: one direction held it all.

    Where it still scores, it found the factor in something that the erasure does not reach: other directions, or what is no
    linear function. Statistic: test score against the factor minus one half, with the probe's own seeds, after erasure on
    training rows; it takes the place of the probe's own `erase`. Test: equivalence, by the 95 % interval: wholly within
    ± `margin` passes, wholly outside fails. Threshold: `margin`, 0.1 unless you set it, a convention of ours: about what the
    interval of one fit on 400 test rows can tell from zero.
    """

    of: TargetName = "truth"
    """The factor that is erased, and that the probe is then scored against: `truth`, a distractor's name, or an XOR."""
    by: Literal["leace", "mean_difference", "lda", "logistic_regression"] = "leace"
    """How, as in `erase` of a probe: `leace` leaves no linear trace on training rows, `mean_difference` is Roger's."""
    times: Annotated[int, Meta(ge=1, le=1000)] = 1
    """How often, with `lda` or `logistic_regression`: each time fitted again to what is left."""
    margin: Annotated[float, Meta(gt=0, lt=0.5)] = 0.1
    """Largest departure from one half that still counts as chance. A smaller one needs more test rows."""

    source: ClassVar[str] = (
        'Roger, "What Discovering Latent Knowledge did and did not find" (2023); Belrose et al. 2023'
    )
    claim: ClassVar[str] = "{probe} scores chance on {of} in {condition} after its erasure (by {by} × {times})"

    def __post_init__(self) -> None:
        self.erasure()

    def erasure(self) -> Erasure:
        """What is taken out. Raises ValueError for options that contradict each other."""
        return Erasure(of=self.of, by=self.by, times=self.times)

    def decide(self, evidence: Evidence) -> Judgement:
        own = self.own(evidence)
        found = own.measure(metric=self.metric, target=self.of, erase=self.erasure())
        times = f" ({self.times} times)" if self.times > 1 else ""
        statement = (
            f"{self.metric} of {self.subject} on {self.of} minus 0.5, {self.of} erased by {self.by}{times}, "
            f"layer {own.layer}"
        )
        return chance(found, self.margin, statement)
