"""Attention pooling over the tokens of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.errors import NumericalError
from harness.machine.threads import each
from harness.probes._attention import Fits
from harness.probes._contrast import differences, label_rows
from harness.probes._cross_validation import candidates, folds, principal
from harness.readouts.attention import AttentionReadout, Sequences

if TYPE_CHECKING:
    from torch import Tensor

_STREAM = 0xA77
SEARCH = 200
"""Evaluations of each fit of the search for `l2: auto`."""


class AttentionPooling(Probe, frozen=True, kw_only=True):
    """A learned query looks for the tokens that tell: score = Σ_t softmax_t(x_t · q) (x_t · v) + b over the tokens t of a sequence.

    Minimises Σ log-loss over sequences + ½ · l2 · (‖q‖² + ‖v‖²) with a free intercept. With `read: {…, pool: each}` a sequence is the
    rows of one example under one template; it has one score, and metrics, checks and thresholds count it once. Where every row is a sequence of its own, as where states were pooled
    before, nothing is weighted. The loss has several minima: queries are drawn by the seed.
    """

    l2: Literal["auto"] | Annotated[float, Meta(gt=0)] = 1.0
    """Strength of the penalty on query and value. Large values end at the mean over tokens. `auto` chooses a power of ten for each layer and
    labelling, by the log-loss of five-fold cross-validation over groups of training rows, and takes some ten times as long."""

    source: ClassVar[str] = (
        "Kantamneni et al. 2025 (arXiv 2502.16681); McKenzie et al. 2025 (arXiv 2506.10805), attention probes"
    )
    views: ClassVar[tuple[int, ...]] = (1, 2)
    supervised: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    halves: ClassVar[int] = 10
    directed: ClassVar[bool] = False

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        labels, rows = label_rows(pairs).double(), differences(pairs)
        sequences = Sequences.of(pairs)
        wanted = sequences.mean(labels)
        dealt = [folds(pairs, own)[sequences.place[:, 0]] for own in labels] if self.l2 == "auto" else []
        start = torch.stack([_query(seed, rows.shape[2]) for seed in seeds]).to(wanted)
        search = _query(0, rows.shape[2]).to(wanted)
        found = each(lambda layer: self._fit_layer(layer, sequences, wanted, dealt, start, search), rows)
        query, value, bias = (torch.stack(parts, dim=1).float() for parts in zip(*found, strict=True))
        return AttentionReadout(query, value, bias)

    def _fit_layer(
        self, rows: Tensor, sequences: Sequences, labels: Tensor, dealt: list[Tensor], start: Tensor, search: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and values, (seed, d_model), and biases, (seed,). Labels are (labelling, sequence), starts (seed, d_model)."""
        import torch

        rows = rows.double()
        # What all tokens have in common moves no softmax, and goes into the free intercept.
        mean = rows.mean(dim=0)
        rows = rows - mean
        size = float(rows.square().mean().sqrt())
        if not size > 0:
            return torch.zeros_like(start), torch.zeros_like(start), start.new_zeros(len(start))
        # In units of the states' size, in which a step of one length is right for all; the penalty follows.
        rows = rows / size
        if dealt:
            strengths = [_chosen(rows, sequences, own, fold, search) for own, fold in zip(labels, dealt, strict=True)]
        else:
            assert not isinstance(self.l2, str)
            strengths = [self.l2 / size**2] * len(labels)
        labels = labels.expand(len(start), -1)
        l2 = start.new_tensor(strengths).expand(len(start))
        parameters = Fits(rows, sequences, labels, torch.ones_like(labels), l2).minimum(start).parameters
        query, value = parameters[:, :-1].chunk(2, dim=1)
        query, value = query / size, value / size
        return query, value, parameters[:, -1] - value @ mean


def _query(seed: int, width: int) -> Tensor:
    """Where a seed's query starts, (d_model,): on states of mean square one it gives logits of the order of one; the same at all layers."""
    import torch

    return torch.from_numpy(np.random.default_rng([_STREAM, seed]).standard_normal(width) * width**-0.5)


def _chosen(rows: Tensor, sequences: Sequences, labels: Tensor, fold: Tensor, search: Tensor) -> float:
    """The strength for one labelling, (sequence,), by the log-loss of sequences held out: all candidates and folds at once.

    Candidates are those of logistic regression on the means over tokens. Of equals the strongest is taken.
    Raises NumericalError where no class has sequences both in a fold and outside.
    """
    import torch

    value, _ = principal(sequences.mean(rows.T).T)
    options = candidates(float(value[-1]) if len(value) else 0.0)
    every = fold.unique()
    held = fold == every.repeat(len(options))[:, None]
    # Of a class that the rows of a fit have not, the fit knows nothing.
    known = torch.stack([((~held) * (labels != one)).any(dim=1) for one in (1, 0)], dim=1).double()
    weight = held * (known[:, :1] * (1 - labels) + known[:, 1:] * labels)
    if not bool(weight.any()):
        raise NumericalError(
            "l2: auto needs a class with rows in two groups of training rows at least, to hold one out; write a number"
        )
    l2 = torch.tensor(options).to(rows).repeat_interleave(len(every))
    fits = Fits(rows, sequences, labels.expand(len(l2), -1), (~held).to(rows), l2)
    found = fits.minimum(search.expand(len(l2), -1), SEARCH)
    lost = (fits.losses(fits.logits(found.parameters)) * weight).sum(dim=1)
    return options[int(lost.unflatten(0, (len(options), -1)).sum(dim=1).argmin())]
