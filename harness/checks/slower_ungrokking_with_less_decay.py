"""Less weight decay, slower ungrokking."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._networks import OfNetworks, median
from harness.contracts import ConditionName, Halfway, MeasurementName
from harness.errors import CheckError

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class SlowerUngrokkingWithLessDecay(OfNetworks, frozen=True, kw_only=True):
    """Networks that are trained on with less weight decay lose what they grokked later than the same ones with more.

    Statistic: the share of networks that fall below `level` later in `condition` than in `against`, on a straight line between stored steps; one that never falls there does so
    last, and of two that never fall none is later. Test: the 95 % interval of that share. Threshold: `most`.
    """

    against: ConditionName
    """The condition with more weight decay: the same networks, on the same questions."""
    measurement: MeasurementName = "test_accuracy"
    """What falls."""
    level: float = 0.5
    """The value below which it has fallen."""

    source: ClassVar[str] = "an open question of Varma et al. 2023 (arXiv 2309.02390), §6"
    claim: ClassVar[str] = "{measurement} falls later in the networks of {condition} than in those of {against}"

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        each = []
        for name in (self.condition, self.against):
            watch = evidence.watch(name)
            fell = watch.moved(self.measurement, Halfway(self.level, rising=False))
            each.append(np.where(np.isnan(fell), np.inf, fell))
        own, other = each
        if len(own) != len(other):
            raise CheckError(
                f"{self.kind()}: {len(own)} networks of {self.condition} cannot be paired with {len(other)} of {self.against}; train as many"
            )
        said = f"{self.measurement} falls below {self.level:g} (median {median(own)}) later than in {self.against} (median {median(other)})"
        return own > other, said
