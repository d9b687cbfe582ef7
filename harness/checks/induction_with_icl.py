"""Induction heads form while a network learns to learn from its context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._networks import OfNetworks, median
from harness.contracts import ConditionName, Halfway, MeasurementName
from harness.errors import CheckError

if TYPE_CHECKING:
    import numpy as np

    from harness.contracts import Watch
    from harness.scoring.evidence import Evidence


class InductionWithIcl(OfNetworks, frozen=True, kw_only=True):
    """The prefix-matching score of the best head goes above a threshold in the window of training in which the in-context-learning score falls, and does not in
    networks of one layer.

    The window of a network is the shortest stretch between stored steps in which the in-context score makes `share` of its whole fall. Statistic: the
    share of networks in which (1) the fall is `falls` or more, (2) the step from which on the prefix-matching score stays above `above`, on a straight line
    between stored steps, lies in the window, and (3) the network of the same place in `one_layer` is below `absent` at every stored step. Test: the
    95 % interval of that share. Threshold: `most`. Simulated with 6, 8, 10 and 20 networks: where half of all do it, it passes in 1.6, 3.5, 1.1 and 2.2 % of
    4,000 runs; where the score rises at any step, in none; where 95 % of all do it, in 73, 94, 91 and 100 %.
    """

    matching: MeasurementName = "prefix_matching"
    """The prefix-matching score."""
    in_context: MeasurementName = "in_context_score"
    """The in-context-learning score, which falls."""
    above: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    """What the prefix-matching score is to exceed."""
    falls: Annotated[float, Meta(gt=0)] = 0.5
    """By how many nats the in-context score falls at least, from the first stored step to the last one."""
    share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    """Share of that fall that the window holds."""
    one_layer: ConditionName | None = None
    """The condition with networks of one layer; none is looked at if empty."""
    absent: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    """What the prefix-matching score of these stays below."""

    source: ClassVar[str] = "Olsson et al. 2022 (arXiv 2209.11895), arguments 1 and 2"
    claim: ClassVar[str] = "{matching} goes above {above} in the networks of {condition} while {in_context} falls"

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        watch = evidence.watch(self.condition)
        formed = watch.moved(self.matching, Halfway(self.above, rising=True))
        opened, closed = windows(watch, self.in_context, self.share)
        scores = watch.values[self.in_context]
        fall = scores[:, 0] - scores[:, -1]
        each = (fall >= self.falls) & (opened <= formed) & (formed <= closed)
        said = (
            f"{self.in_context} falls by {np.median(fall):.2f} (median; {self.falls:g} or more), {self.share:g} of that between {median(opened)} and "
            f"{median(closed)} (medians), and {self.matching} goes above {self.above:g} (median {median(formed)}) in that window"
        )
        if self.one_layer is not None:
            other = evidence.watch(self.one_layer).values[self.matching]
            if len(other) != len(each):
                raise CheckError(
                    f"induction_with_icl: {len(each)} networks of {self.condition} cannot be paired with {len(other)} of {self.one_layer}; train as many"
                )
            highest = np.nanmax(other, axis=1)
            each = each & (highest < self.absent)
            said += f", while it stays below {self.absent:g} in {self.one_layer} (median of the highest {np.median(highest):.2f})"
        return each, said


def windows(watch: Watch, title: str, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last step of the shortest stretch between stored steps in which a measurement makes this share of its fall from the first step to the
    last one, of equally short ones the one with the greatest fall, float64, (network,) each; NaN for a measurement that does not fall."""
    import numpy as np

    steps = np.array(watch.steps, dtype=np.float64)
    found = np.full((2, watch.networks), np.nan)
    for network, own in enumerate(watch.values[title]):
        fall = own[:, None] - own
        length = steps - steps[:, None]
        enough = (fall >= share * (own[0] - own[-1])) & (length > 0)
        if own[0] > own[-1]:
            shortest = np.where(enough, length, np.inf)
            tied = np.where(shortest == shortest.min(), fall, -np.inf)
            start, end = np.unravel_index(int(tied.argmax()), tied.shape)
            found[:, network] = steps[start], steps[end]
    return found[0], found[1]
