"""Logistic regression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.contracts.targets import TargetKindName
from harness.errors import NumericalError
from harness.machine.threads import each
from harness.probes._contrast import check, differences, label_rows, pair_weight, per_seed, told_apart
from harness.probes._cross_validation import folds, logistic_l2
from harness.probes._logistic import Fitted, minimum
from harness.probes._multinomial import minimum as softmax_minimum
from harness.probes._outputs import classes_apart, linear_outputs, member_rows
from harness.readouts.fitted_probes import LinearReadout

if TYPE_CHECKING:
    from torch import Tensor


class LogisticRegression(Probe, frozen=True, kw_only=True):
    """Linear log-odds fitted to labels: the supervised ceiling of what a linear probe can say.

    Minimises Σ log-loss + ½ · l2 · ‖w‖² with a free intercept, as scikit-learn does with C = 1 / l2, to the same
    coefficients. All labellings of a layer are fitted together, in float64. Of several classes it is the softmax regression: the
    weights of each class count in the penalty.
    """

    l2: Literal["auto"] | Annotated[float, Meta(gt=0)] = 1.0
    """Strength of the penalty, 1/C. Small values let separable data drive the weights up and overfit when there are
    more dimensions than rows; large ones approach `mean_difference`. `auto` chooses a power of ten for each layer and labelling, by the
    log-loss of five-fold cross-validation over groups of training rows: it asks for no knowledge of the states' size, and takes a few
    times as long."""
    features: Literal["difference", "concat"] = "difference"
    """`difference` fits on x⁺ − x⁻, which is what the unsupervised probes see: a gap to them is then due to labels
    alone, with half as many weights to overfit. `concat` fits on x⁻ and x⁺ side by side as the papers do, and can also
    use what both members share."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §3.1; Farquhar et al. 2023, §4"
    views: ClassVar[tuple[int, ...]] = (1, 2)
    targets: ClassVar[tuple[TargetKindName, ...]] = ("binary", "classes")
    supervised: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        if pairs.classes > 2:
            return self._softmax(pairs, seeds)
        import torch

        labels = label_rows(pairs).double()
        rows = self._rows(pairs)
        found = told_apart(rows, labels, pairs)
        strengths = self._strengths(pairs, rows, torch.stack([1 - labels, labels], dim=1))
        fits = self._fitted(minimum, rows, labels, strengths)
        weight = (torch.stack([one.weight for one in fits], dim=1) * found[..., None]).float()
        bias = (torch.stack([one.bias for one in fits], dim=1) * found).float()
        views = pairs.states.shape[2]
        weight = pair_weight(weight, views) if self.features == "difference" else weight.unflatten(-1, (views, -1))
        return LinearReadout(per_seed(weight, len(seeds)), per_seed(bias, len(seeds)), calibrated=True)

    def _softmax(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        members, rows = member_rows(pairs), self._rows(pairs)
        found = classes_apart(rows, members, pairs)
        fits = self._fitted(softmax_minimum, rows, members, self._strengths(pairs, rows, members))
        weight, bias = (
            torch.stack(parts, dim=1) for parts in zip(*((one.weight, one.bias) for one in fits), strict=True)
        )
        views = pairs.states.shape[2]
        return linear_outputs(weight, bias, found, len(seeds), views=views, concat=self.features == "concat")

    def _rows(self, pairs: Pairs) -> Tensor:
        """(layer, row, feature)."""
        if self.features == "difference":
            return differences(pairs)
        check(pairs)
        return pairs.states.flatten(2)

    def _strengths(self, pairs: Pairs, rows: Tensor, members: Tensor) -> list[list[float]]:
        """The penalty of each labelling at each layer; members are (labelling, class, row)."""
        if self.l2 != "auto":
            return [[self.l2] * len(members)] * len(rows)
        dealt = [folds(pairs, member.argmax(dim=0)) for member in members]
        return each(
            lambda layer: [logistic_l2(layer, member, own) for member, own in zip(members, dealt, strict=True)], rows
        )

    def _fitted(
        self,
        minimum: Callable[[Tensor, Tensor, float], Fitted],
        rows: Tensor,
        labels: Tensor,
        strengths: list[list[float]],
    ) -> list[Fitted]:
        """The minimum of all labellings at each layer; those with one penalty are found together."""
        fits = each(
            lambda layer: _by_strength(minimum, layer[0].double(), labels, layer[1]), zip(rows, strengths, strict=True)
        )
        for number, one in enumerate(fits):
            if not bool(one.converged.all()):
                raise NumericalError(
                    f"logistic_regression did not converge at layer index {number}; use a larger l2, or `normalise: mean_std`"
                )
        return fits


def _by_strength(
    minimum: Callable[[Tensor, Tensor, float], Fitted], rows: Tensor, labels: Tensor, strengths: list[float]
) -> Fitted:
    """The minima of labellings with penalties of their own, in their order."""
    import torch

    parts: list[Fitted] = []
    order: list[int] = []
    for l2 in dict.fromkeys(strengths):
        own = [number for number, strength in enumerate(strengths) if strength == l2]
        parts.append(minimum(rows, labels[own] if len(own) < len(labels) else labels, l2))
        order += own
    if len(parts) == 1:
        return parts[0]
    back = torch.argsort(torch.tensor(order)).to(rows.device)
    weight, bias, converged = (
        torch.cat(several)[back]
        for several in zip(*((one.weight, one.bias, one.converged) for one in parts), strict=True)
    )
    return type(parts[0])(weight, bias, converged)
