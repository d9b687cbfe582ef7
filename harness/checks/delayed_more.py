"""What delays generalising more than memorising."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._networks import OfNetworks, median
from harness.contracts import ConditionName, MeasurementName
from harness.errors import CheckError

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class DelayedMore(OfNetworks, frozen=True, kw_only=True):
    """Networks of `condition`, such as those that begin with a larger norm, generalise later than those of `against` by a larger factor than they memorise
    later.

    Statistic: the share of networks (of one seed in both) in which the step from which on `test` is halfway to knowing all, by that of `train`, is larger
    in `condition`; one whose `test` never gets there is later than any other, and one whose `train` does not never counts. Steps are read off a straight
    line between stored ones. Test: the 95 % interval of that share. Threshold: `most`.
    """

    against: ConditionName
    """The condition with which networks are compared."""
    train: MeasurementName = "train_loss"
    """What shows that training questions are known."""
    test: MeasurementName = "test_loss"
    """What shows that other questions are known."""

    source: ClassVar[str] = "Liu et al. 2022 (arXiv 2210.01117): a large initial norm delays generalising"
    claim: ClassVar[str] = (
        "generalising is delayed more than memorising in the networks of {condition}, as compared with {against}"
    )

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        ratios, steps = [], []
        for name in (self.condition, self.against):
            watch = evidence.watch(name)
            train, test = watch.moved(self.train), watch.moved(self.test)
            ratios.append(np.where(np.isnan(test), np.inf, test) / train)
            steps.append(f"{median(train)} and {median(test)}")
        own, other = ratios
        if len(own) != len(other):
            raise CheckError(
                f"delayed_more: {len(own)} networks of {self.condition} cannot be paired with {len(other)} of {self.against}; train as many"
            )
        said = (
            f"{self.train} and {self.test} are halfway at {steps[0]} (medians; {steps[1]} in {self.against}), which is a factor of {np.median(own):.1f} "
            f"between them ({np.median(other):.1f}), larger than in {self.against}"
        )
        return own > other, said
