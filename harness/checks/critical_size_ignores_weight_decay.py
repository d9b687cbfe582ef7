"""How many questions it takes to keep what was grokked does not depend on weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._critical_size import OfSizes, critical_sizes
from harness.checks._judging import judged, near_zero, number
from harness.contracts import Judgement
from harness.errors import CheckError
from harness.maths.over_networks import over_networks

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class CriticalSizeIgnoresWeightDecay(OfSizes, frozen=True, kw_only=True):
    """Networks that are trained on with fewer questions keep what they grokked down to a critical number of them, which is the same for different
    weight decays.

    The critical size of a network at a decay is the number of questions at which `measurement` in the end is `level`, on a straight line in the
    logarithm of their number. Statistic: the mean over networks of log2 of the critical size at the greatest decay less that at the least. Test:
    Student's 95 % interval over networks; one that is above or below `level` at all sizes of a decay is left out. Threshold: ± `margin`. Less decay
    also forgets more slowly: beside it stands the statistic after half of the steps, which is another one where forgetting has not ended.
    """

    margin: Annotated[float, Meta(gt=0)] = 0.5
    """Of log2: 0.5 is a factor of 1.4."""

    of_seeds: ClassVar[bool] = False
    source: ClassVar[str] = "Varma et al. 2023 (arXiv 2309.02390), §5.1"
    claim: ClassVar[str] = "the critical number of questions does not depend on weight decay ({condition}, {sizes})"

    def decide(self, evidence: Evidence) -> Judgement:
        found = critical_sizes(self, evidence)
        least, greatest = min(found), max(found)
        if least == greatest:
            raise CheckError(
                f"{self.kind()}: all conditions have a weight decay of {least:g}; name some with another one"
            )
        each = "; ".join(f"{decay:g}: {_critical(found[decay])}" for decay in sorted(found))
        half = critical_sizes(self, evidence, of_steps=0.5)
        before = over_networks(half[greatest] - half[least])
        said = (
            f"{self.measurement} is {self.level:g} at so many questions by weight decay ({each}); log2 of that at {greatest:g} less that at "
            f"{least:g}, mean over networks, which was {number(before.value)} after half of the steps"
        )
        return judged(over_networks(found[greatest] - found[least]), near_zero, self.margin, said)


def _critical(found: np.ndarray) -> str:
    """The mean over networks in questions, with its interval and the number of networks."""
    one = over_networks(found)
    if one.why:
        return one.why
    return f"{2**one.value:.0f} [{2**one.low:.0f}, {2**one.high:.0f}], {one.n} networks"
