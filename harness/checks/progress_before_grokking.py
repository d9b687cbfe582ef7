"""The circuit forms before the answers show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.checks._networks import OfNetworks, median
from harness.contracts import MeasurementName
from harness.errors import CheckError

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class ProgressBeforeGrokking(OfNetworks, frozen=True, kw_only=True):
    """One measurement of a network is halfway to knowing all before another one is, such as the restricted loss before the test loss.

    With `moves: decodable` and `before: test_accuracy` it says that the answer is latent for a while: known and not said. Statistic: the share
    of networks in which the step from which on `moves` stays halfway between guessing and knowing all, on a straight line between stored steps, lies before that of `before`; a
    network in which `moves` never gets there does not count, one in which `before` never does counts with `never`. Test: the 95 % interval of that
    share. Threshold: `most`.
    """

    moves: MeasurementName = "restricted_loss"
    """The measurement that is to move first: one on a scale from guessing to knowing all."""
    before: MeasurementName = "test_loss"
    """The measurement that is to move later."""
    never: bool = False
    """Whether a network counts in which `moves` gets there and `before` never does, such as one that knows and does not say by the end."""

    source: ClassVar[str] = "Nanda et al. 2023 (arXiv 2301.05217), §5"
    claim: ClassVar[str] = "{moves} moves before {before} in the networks of {condition}"

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        watch = evidence.watch(self.condition)
        for title in (self.moves, self.before):
            if title not in watch.halfway:
                raise CheckError(
                    f"progress_before_grokking: {title} has no scale from guessing to knowing all; name one of {', '.join(watch.halfway)}"
                )
        first, second = watch.moved(self.moves), watch.moved(self.before)
        said = f"{self.moves} is halfway (median {median(first)}) before {self.before} is (median {median(second)})"
        return first < (np.where(np.isnan(second), np.inf, second) if self.never else second), said
