"""The largest rolling mean of token scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.errors import NumericalError
from harness.machine.threads import each
from harness.probes._contrast import differences, label_rows, per_seed, told_apart
from harness.probes._cross_validation import folds, logistic_l2
from harness.probes._logistic import minimum
from harness.readouts.attention import Sequences
from harness.readouts.rolling import RollingReadout, largest_mean

if TYPE_CHECKING:
    from torch import Tensor

PLATT = 1.0
"""Penalty of the regression on sequences, whose one input has a variance of one: it keeps slopes finite where classes lie apart."""


class RollingMean(Probe, frozen=True, kw_only=True):
    """Logistic regression on tokens; a sequence is scored by the largest mean over `window` tokens that follow each other, as in a stream.

    With `read: {…, pool: each}` a sequence is the rows of one example under one template; it has one score, and metrics, checks and
    thresholds count it once. The largest of many means lies above what one token says, so that a second logistic
    regression, on the sequences' numbers, says where the threshold is.
    """

    window: Annotated[int, Meta(ge=1, le=100_000)] = 10
    """Tokens of a run. 1 is the largest score of a token, which one odd token decides; a sequence of fewer tokens is scored by their mean."""
    l2: Literal["auto"] | Annotated[float, Meta(gt=0)] = 1.0
    """Strength of the penalty of the regression on tokens, as that of `logistic_regression`; `auto` chooses a power of ten by
    cross-validation over groups of training rows."""

    source: ClassVar[str] = (
        "McKenzie et al. 2025 (arXiv 2506.10805), max of rolling means; Goldowsky-Dill et al. 2025 (arXiv 2502.03407)"
    )
    views: ClassVar[tuple[int, ...]] = (1, 2)
    supervised: ClassVar[bool] = True
    directed: ClassVar[bool] = False

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        labels, rows = label_rows(pairs).double(), differences(pairs)
        found, sequences = told_apart(rows, labels, pairs), Sequences.of(pairs)
        dealt = [folds(pairs, own) for own in labels] if self.l2 == "auto" else []
        fits = each(lambda layer: self._fit_layer(layer, labels, dealt, sequences), rows)
        weight, slope, bias = (torch.stack(parts, dim=1) for parts in zip(*fits, strict=True))
        weight, slope, bias = (
            per_seed(part.float(), len(seeds)) for part in (weight * found[..., None], slope * found, bias * found)
        )
        return RollingReadout(weight, slope, bias, torch.tensor([self.window]))

    def _fit_layer(
        self, rows: Tensor, labels: Tensor, dealt: list[Tensor], sequences: Sequences
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, (labelling, d_model), slopes and biases, (labelling,), of rows (row, d_model) and labels (labelling, row)."""
        import torch

        rows = rows.double()
        fits = []
        for number, own in enumerate(labels):
            l2 = logistic_l2(rows, torch.stack([1 - own, own]), dealt[number]) if self.l2 == "auto" else self.l2
            assert not isinstance(l2, str)
            fit = minimum(rows, own[None], l2)
            most = largest_mean(fit.weight[0] @ rows.T, sequences, self.window)
            middle, size = most.mean(), most.std(correction=0).clamp_min(1e-30)
            second = minimum(((most - middle) / size)[:, None], sequences.mean(own)[None], PLATT)
            if not bool(fit.converged.all() and second.converged.all()):
                raise NumericalError("rolling_mean did not converge; use a larger l2, or `normalise: mean_std`")
            slope = second.weight[0, 0] / size
            fits.append((fit.weight[0], slope, second.bias[0] - slope * middle))
        weight, slopes, bias = (torch.stack(parts) for parts in zip(*fits, strict=True))
        return weight, slopes, bias
