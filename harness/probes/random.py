"""Random directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from harness.contracts import Pairs, Probe, Readout
from harness.probes._contrast import differences, pair_weight
from harness.probes._start import starts
from harness.readouts.fitted_probes import LinearReadout


class RandomDirection(Probe, frozen=True, kw_only=True):
    """A random unit direction on x⁺ − x⁻, a new one for each seed: a CCS probe before training.

    The floor of every table: with its sign resolved on training labels such a probe averages 75 % on easy sets. Its
    decisions are those of an untrained CCS probe; its score stays linear, because sigmoids of states that nobody
    scaled saturate.
    """

    source: ClassVar[str] = "Farquhar et al. 2023 (arXiv 2312.10029), §4; Roger 2023"
    views: ClassVar[tuple[int, ...]] = (1, 2)
    seeded: ClassVar[bool] = True
    unfitted: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        rows = differences(pairs)
        direction = starts(seeds, 1, rows.shape[2], "sphere", bias=False).to(rows.device)
        weight = pair_weight(direction * rows.flatten(1).any(dim=1)[:, None], pairs.states.shape[2])
        return LinearReadout(weight.contiguous(), torch.zeros(weight.shape[:2], device=weight.device), calibrated=False)
