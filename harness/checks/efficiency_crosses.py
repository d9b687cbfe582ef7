"""Memorising becomes less efficient with more data, until generalising is more efficient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._networks import OfNetworks, last
from harness.contracts import ConditionName, MeasurementName
from harness.errors import CheckError

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class EfficiencyCrosses(OfNetworks, frozen=True, kw_only=True):
    """The efficiency of memorising falls with the number of questions, and crosses that of generalising, which is that of `condition`.

    Statistic: the share of networks (of one seed in all conditions) whose efficiency at the last step is smaller in the last of `memorising` than in
    the first, larger in the first than in `condition`, and smaller in the last than in `condition`. Test: the 95 % interval of that share. Threshold:
    `most`. Between which conditions the medians cross stands beside it: there is the critical size.
    """

    memorising: Annotated[tuple[ConditionName, ...], Meta(min_length=2)]
    """Conditions with shuffled labels, from the fewest questions to the most."""
    measurement: MeasurementName = "efficiency"
    """The efficiency of each network."""

    source: ClassVar[str] = "Varma et al. 2023 (arXiv 2309.02390), §4"
    claim: ClassVar[str] = (
        "memorising ({memorising}) is more efficient than generalising ({condition}) on few questions and less on many"
    )

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        general, *each = (last(evidence.watch(name), self.measurement) for name in (self.condition, *self.memorising))
        if len({len(one) for one in (general, *each)}) > 1:
            raise CheckError(
                f"{self.kind()}: conditions have different numbers of networks, which cannot be paired; train as many in each"
            )
        medians = ", ".join(f"{name} {np.median(one):.2f}" for name, one in zip(self.memorising, each, strict=True))
        below = [name for name, one in zip(self.memorising, each, strict=True) if np.median(one) < np.median(general)]
        where = f"below it from {below[0]} on" if below else "never below it"
        said = f"{self.measurement} of memorising (medians {medians}) falls and crosses that of {self.condition} ({np.median(general):.2f}), {where}"
        return (each[-1] < each[0]) & (each[0] > general) & (each[-1] < general), said
