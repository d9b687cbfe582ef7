"""What anomaly detectors have in common: what they look at, which way is unusual, and where the threshold lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe
from harness.errors import ConstantStates
from harness.maths.rounding import varies
from harness.probes._contrast import check, difference_grain
from harness.readouts.detectors import rows_at

if TYPE_CHECKING:
    from torch import Tensor

PARTS = {
    "difference": ((-1.0, 1.0),),
    "midpoint": ((0.5, 0.5),),
    "both": ((1.0, 0.0), (0.0, 1.0)),
}
"""Shares of x⁻ and x⁺."""


class Detector(Probe, frozen=True, kw_only=True):
    """A probe that says how unusual a pair is, compared with the pairs that it was fitted on."""

    false_alarms: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    """Share of rows like those that it was fitted on which may be called unusual: where the threshold lies. It moves the
    accuracy, and no AUROC."""

    detects: ClassVar[bool] = True

    def threshold(self, scores: Tensor) -> Tensor:
        """The score that `false_alarms` of the training rows exceed; scores (…, pair)."""
        import torch

        return torch.quantile(scores, 1 - self.false_alarms, dim=-1)


class OfStates(Detector, frozen=True, kw_only=True):
    """A detector that looks at the states themselves, each layer by itself."""

    normalise: str = "mean_std"
    """Normalisation of the states before the fit. Without a common scale the few largest dimensions are all that counts."""
    features: Literal["midpoint", "difference", "both"] = "midpoint"
    """`midpoint`, ½ (x⁻ + x⁺), is what both answers share: the question and who is asked. `difference`, x⁺ − x⁻, is what the
    network makes of the answers. `both` sees all, in twice as many dimensions."""

    def rows(self, pairs: Pairs) -> list[Tensor]:
        """What it looks at, float64, (pair, feature) for each layer; all 0 where nothing varies."""
        return rows_of(pairs, self.features)


def sides_of(features: str) -> Tensor:
    """Shares of x⁻ and x⁺ in each part of a row, (side, 2)."""
    import torch

    return torch.tensor(PARTS[features])


def rows_of(pairs: Pairs, features: str) -> list[Tensor]:
    """What is looked at, float64, (pair, feature) for each layer; all 0 where nothing varies. Raises NumericalError."""
    import torch

    check(pairs)
    sides = sides_of(features)
    rows = [rows_at(pairs, sides, layer) for layer in range(len(pairs.states))]
    still = [not varies(own, grain) for own, grain in zip(rows, difference_grain(pairs), strict=True)]
    if all(still) and not pairs.partial:
        raise ConstantStates(
            f"the pairs' {features} is constant: it is the same for all training pairs at every layer that was given; choose "
            "deeper layers or another token (activations.layers, activations.token), or other `features`"
        )
    return [torch.zeros_like(own) if fixed else own for own, fixed in zip(rows, still, strict=True)]
