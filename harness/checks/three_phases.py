"""Memorisation, circuit formation, clean-up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._networks import OfNetworks, last, median
from harness.contracts import MeasurementName

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class ThreePhases(OfNetworks, frozen=True, kw_only=True):
    """Networks memorise, then form the circuit while the test loss stays, then clean up what they memorised.

    Statistic: the share of networks in which (1) `train` is halfway to knowing all, (2) not before it `circuit` is, (3) after that `test` is, and
    `delay` times later than `train`, and (4) `norm` is smaller at the last step than where `circuit` was halfway. A step is that from which on a
    measurement stays there, on a straight line between stored steps. Test: the 95 % interval of that share. Threshold:
    `most`.
    """

    train: MeasurementName = "train_loss"
    """What shows that training questions are known."""
    circuit: MeasurementName = "restricted_loss"
    """What shows the generalising circuit."""
    test: MeasurementName = "test_loss"
    """What shows that other questions are known."""
    norm: MeasurementName = "weight_norm"
    """What clean-up makes smaller."""
    delay: Annotated[float, Meta(ge=1, le=1000)] = 2.0
    """How many times later other questions are known than training questions."""

    source: ClassVar[str] = "Nanda et al. 2023 (arXiv 2301.05217), §5.2"
    claim: ClassVar[str] = "the networks of {condition} memorise, form a circuit and clean up, in this order"

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        watch = evidence.watch(self.condition)
        train, circuit, test = (watch.moved(title) for title in (self.train, self.circuit, self.test))
        steps, norm = np.array(watch.steps, dtype=np.float64), watch.values[self.norm]
        formed = np.array([np.interp(at, steps, own) for own, at in zip(norm, circuit, strict=True)])
        each = (train <= circuit) & (circuit < test) & (test >= self.delay * train) & (last(watch, self.norm) < formed)
        said = (
            f"{self.train} is halfway (median {median(train)}), then {self.circuit} (median {median(circuit)}), then {self.test} (median "
            f"{median(test)}), and {self.norm} falls"
        )
        return each, said
