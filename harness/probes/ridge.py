"""Ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.contracts.targets import TargetKindName
from harness.machine.threads import each_stacked
from harness.probes._contrast import differences
from harness.probes._cross_validation import folds, principal, ridge_l2
from harness.probes._outputs import linear_outputs, value_rows, values_apart

if TYPE_CHECKING:
    from torch import Tensor


class Ridge(Probe, frozen=True, kw_only=True):
    """Linear least squares of a number or a vector, with a penalty: whether it is linear in the states.

    Minimises Σ ‖y − W x − b‖² + l2 · ‖W‖² with a free intercept, as scikit-learn does with alpha = l2. One eigendecomposition of a
    layer serves all labellings and all strengths.
    """

    l2: Literal["auto"] | Annotated[float, Meta(gt=0)] = "auto"
    """Strength of the penalty. `auto` chooses a power of ten for each layer, by five-fold cross-validation over groups of training rows."""

    source: ClassVar[str] = (
        "Hoerl & Kennard 1970 (Technometrics 12); for states: Gurnee & Tegmark 2023 (arXiv 2310.02207)"
    )
    views: ClassVar[tuple[int, ...]] = (1, 2)
    targets: ClassVar[tuple[TargetKindName, ...]] = ("number", "vector")
    supervised: ClassVar[bool] = True
    directed: ClassVar[bool] = False

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        rows, values = differences(pairs), value_rows(pairs)
        found, fold = values_apart(rows, values, pairs), None
        if self.l2 == "auto":
            fold = folds(pairs, values[0, :, 0])
        weight, bias = each_stacked(lambda layer: self._layer(layer.double(), values, fold), rows)
        return linear_outputs(weight, bias, found, len(seeds), views=pairs.states.shape[2], centre=values.mean(dim=1))

    def _layer(self, rows: Tensor, values: Tensor, fold: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weights (labelling, component, d_model) and intercepts (labelling, component) of one layer."""
        import torch

        strengths = [self.l2] * len(values) if fold is None else ridge_l2(rows, values, fold)
        mean, centre = rows.mean(dim=0), values.mean(dim=1)
        value, axes = principal(rows)
        # Of rows X = U S Vᵀ, what is divided by here is S² + l2, and VS is XᵀU.
        back = (rows - mean).T @ axes
        weight = torch.stack(
            [
                (back / (value + float(l2)) @ (axes.T @ (own - middle))).T
                for own, middle, l2 in zip(values, centre, strengths, strict=True)
            ]
        )
        return weight, centre - weight @ mean
