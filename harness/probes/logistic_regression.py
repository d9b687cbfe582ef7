"""Logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.errors import NumericalError
from harness.machine.threads import each
from harness.probes._contrast import check, differences, label_rows, pair_weight, per_seed, told_apart
from harness.probes._logistic import minimum
from harness.readouts.fitted_probes import LinearReadout


class LogisticRegression(Probe, frozen=True, kw_only=True):
    """Linear log-odds fitted to labels: the supervised ceiling of what a linear probe can say.

    Minimises Σ log-loss + ½ · l2 · ‖w‖² with a free intercept, as scikit-learn does with C = 1 / l2, to the same
    coefficients. All labellings of a layer are fitted together, in float64.
    """

    l2: Annotated[float, Meta(gt=0)] = 1.0
    """Strength of the penalty, 1/C. Small values let separable data drive the weights up and overfit when there are
    more dimensions than rows; large ones approach `mean_difference`."""
    features: Literal["difference", "concat"] = "difference"
    """`difference` fits on x⁺ − x⁻, which is what the unsupervised probes see: a gap to them is then due to labels
    alone, with half as many weights to overfit. `concat` fits on x⁻ and x⁺ side by side as the papers do, and can also
    use what both members share."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §3.1; Farquhar et al. 2023, §4"
    supervised: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        labels = label_rows(pairs).double()
        if self.features == "difference":
            rows = differences(pairs)
        else:
            check(pairs)
            rows = pairs.states.flatten(2)
        found = told_apart(rows, labels, pairs)
        fits = each(lambda layer: minimum(layer.double(), labels, self.l2), rows)
        if not all(bool(one.converged.all()) for one in fits):
            number = next(number for number, one in enumerate(fits) if not bool(one.converged.all()))
            raise NumericalError(
                f"logistic_regression did not converge at layer index {number}; use a larger l2, or `normalise: mean_std`"
            )
        weight = (torch.stack([one.weight for one in fits], dim=1) * found[..., None]).float()
        bias = (torch.stack([one.bias for one in fits], dim=1) * found).float()
        weight = pair_weight(weight) if self.features == "difference" else weight.unflatten(-1, (2, -1))
        return LinearReadout(per_seed(weight, len(seeds)), per_seed(bias, len(seeds)), calibrated=True)
