"""Near the critical size, networks know a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._ending import AtLastStep

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class SemiGroksNear(AtLastStep, frozen=True, kw_only=True):
    """Networks end at knowing a part of what they are not trained on, and stay there: neither memorising alone nor all of it.

    Statistic: the share of networks whose `measurement` ends between `low` and `high`, and was within `still` of that at all stored steps of the last
    fifth of the training. Test: the 95 % interval of that share. Threshold: `most`.
    """

    low: float = 0.2
    """The least value that is a part."""
    high: float = 0.9
    """The greatest one."""
    still: Annotated[float, Meta(gt=0)] = 0.05
    """How far it may move in the last fifth of the training."""

    source: ClassVar[str] = "Varma et al. 2023 (arXiv 2309.02390), §5.2"
    claim: ClassVar[str] = (
        "{measurement} ends between {low} and {high}, and stays there, in the networks of {condition}"
    )

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        found, said = self.ending(evidence)
        watch = evidence.watch(self.condition)
        # From the stored step on with which the last fifth begins, or the one before it.
        since = int(np.searchsorted(watch.steps, 0.8 * watch.steps[-1], side="right")) - 1
        late = watch.values[self.measurement][:, since:]
        moved = np.abs(late - found[:, None]).max(1)
        between = (self.low <= found) & (found <= self.high)
        said += f" is from {self.low:g} to {self.high:g} (in {int(between.sum())}) and stayed within {self.still:g} over the last fifth of steps"
        return between & (moved <= self.still), said
