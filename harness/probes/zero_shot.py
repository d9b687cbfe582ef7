"""The model's own answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from harness.contracts import Pairs, Probe, Readout
from harness.errors import NumericalError
from harness.readouts.fitted_probes import ThresholdReadout, needed_log_odds


class ZeroShot(Probe, frozen=True, kw_only=True):
    """The answer that the model itself gives more probability: what a probe must beat to have found more than output.

    Nothing is fitted but, if asked for, the threshold.
    """

    calibrated: bool = False
    """Put the threshold at the median log-odds of the training rows, so that both answers are given equally often. Needs
    no labels, but takes for granted that the data are balanced. Off, a model that prefers one word says it always."""
    normalise: str = "none"
    """Nothing else is possible: log-odds are not states."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §3.1, zero-shot and calibrated zero-shot"
    reads: ClassVar = "log_odds"

    def __post_init__(self) -> None:
        if self.normalise != "none":
            raise ValueError(
                f"{self.kind()} reads no states, so that there is nothing to normalise; take `normalise` out"
            )

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        log_odds = needed_log_odds(pairs).float()
        bad = (~log_odds.isfinite()).nonzero()
        if len(bad):
            raise NumericalError(f"the model's log-odds of training pair {int(bad[0, 0])} are not finite")
        if len(log_odds) < 2:
            raise NumericalError(f"zero_shot needs at least two training pairs, has {len(log_odds)}; raise data.limit")
        # The mean of the two middle values: torch.median takes the lower one, which leaves an even count off balance.
        middle = torch.quantile(log_odds, 0.5) if self.calibrated else log_odds.new_zeros(())
        return ThresholdReadout(middle.expand(len(seeds), 1).contiguous())
