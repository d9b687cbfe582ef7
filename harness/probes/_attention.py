"""The loss of attention pooling with its gradient: many queries and values on the tokens of the same sequences at once.

Log-loss of each sequence's label by s = Σ_t a_t (x_t · v) + b, where a = softmax(x · q) over its tokens t, plus ½ · l2 · (‖q‖² + ‖v‖²).
Then ds/dv = Σ_t a_t x_t and ds/dq = Σ_t a_t (x_t · v − Σ_u a_u (x_u · v)) x_t: with what each token counts for, both are one product with
the states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.probes._quasi_newton import Minimum, minimise

if TYPE_CHECKING:
    from torch import Tensor

    from harness.readouts.attention import Sequences

EVALUATIONS = 1000
"""At most, by L-BFGS. A fit that has not come to rest then is used as it is: the loss has no one minimum."""
NEAR = 1e-6
"""Share of its size at the start that the gradient has where a fit ends."""


class Fits:
    """Fits on the same rows: each with a labelling, a penalty and sequences that count of its own. Float64."""

    alone = None

    def __init__(self, rows: Tensor, sequences: Sequences, labels: Tensor, counted: Tensor, l2: Tensor):
        self.rows = rows
        """(row, d_model)."""
        self.sequences = sequences
        self.labels = labels
        """Of each sequence, 0 to 1, (fit, sequence)."""
        self.counted = counted
        """1 for sequences that it is fitted on, 0 for others, (fit, sequence)."""
        self.l2 = l2
        """(fit,)."""
        self.least: Tensor | None = None
        """Norm of the gradient at which each has come to rest, (fit,)."""

    def logits(self, parameters: Tensor) -> Tensor:
        """(fit, 2 · d_model + 1) of query, value and bias to the log-odds of each sequence, (fit, sequence)."""
        query, value, bias = self._parts(parameters)
        read = (value @ self.rows.T)[:, self.sequences.place]
        return (self.sequences.weights(query @ self.rows.T) * read).sum(dim=2) + bias[:, None]

    def losses(self, logits: Tensor) -> Tensor:
        """Log-loss of each sequence, (fit, sequence)."""
        import torch

        return torch.nn.functional.softplus(logits) - self.labels * logits

    def loss_and_gradient(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        query, value, bias = self._parts(parameters)
        read = (value @ self.rows.T)[:, self.sequences.place]
        weights = self.sequences.weights(query @ self.rows.T)
        pooled = (weights * read).sum(dim=2)
        logits = pooled + bias[:, None]
        loss = (self.losses(logits) * self.counted).sum(dim=1)
        loss = loss + self.l2 / 2 * (query.square().sum(dim=1) + value.square().sum(dim=1))
        residual = (logits.sigmoid() - self.labels) * self.counted
        by_value = residual[..., None] * weights
        by_query = by_value * (read - pooled[..., None])
        slopes = torch.cat([self.sequences.on_rows(by_query), self.sequences.on_rows(by_value)]) @ self.rows
        slope_of_query, slope_of_value = slopes.chunk(2)
        penalty = self.l2[:, None]
        parts = slope_of_query + penalty * query, slope_of_value + penalty * value, residual.sum(dim=1, keepdim=True)
        gradient = torch.cat(parts, dim=1)
        if self.least is None:
            self.least = NEAR * gradient.norm(dim=1)
        return loss, gradient

    def finished(self, parameters: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        assert self.least is not None, "evaluated before"
        return gradient.norm(dim=1) <= self.least

    def only(self, on: Tensor) -> Fits:
        some = Fits(self.rows, self.sequences, self.labels[on], self.counted[on], self.l2[on])
        some.least = None if self.least is None else self.least[on]
        return some

    def minimum(self, start: Tensor, evaluations: int = EVALUATIONS) -> Minimum:
        """From queries, (fit, d_model), and values of zero, with the bias that says how many labels are 1."""
        import torch

        share = (self.labels * self.counted).sum(dim=1) / self.counted.sum(dim=1)
        bias = share.clamp(1e-3, 1 - 1e-3).logit()[:, None]
        return minimise(self, torch.cat([start, torch.zeros_like(start), bias], dim=1), evaluations)

    def _parts(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        width = self.rows.shape[1]
        return parameters[:, :width], parameters[:, width:-1], parameters[:, -1]
