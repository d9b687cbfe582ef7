"""Logistic regression on the model's own answers to several questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.errors import NumericalError
from harness.probes._contrast import label_rows, per_seed
from harness.probes._logistic import minimum
from harness.readouts.weighted_answers import IncompleteError, LogOddsReadout, by_example


class LogOddsRegression(Probe, frozen=True, kw_only=True):
    """Logistic regression on the log-odds of the model's own answers to all questions about an example: a black box that learns.

    The questions are templates, or those of `data.reply.follow_up`: several, some of which may have nothing to do with what was said. One answer
    says little, or the wrong way round; what all of them say together is learnt from labels. Every row of an example has the same score.
    Log-odds are divided by their standard deviation over training rows. With one question it is `zero_shot` with a threshold and a sign that
    were learnt.
    """

    l2: Annotated[float, Meta(gt=0)] = 1.0
    """Strength of the penalty on the weights."""
    normalise: str = "none"
    """Nothing else is possible: log-odds are not states."""

    source: ClassVar[str] = (
        "Pacchiardi et al. 2023 (arXiv 2309.15840), a lie detector that asks unrelated questions after a suspected lie"
    )
    reads: ClassVar = "log_odds"
    asks: ClassVar = "example"
    supervised: ClassVar[bool] = True
    directed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.normalise != "none":
            raise ValueError(
                f"{self.kind()} reads no states, so that there is nothing to normalise; take `normalise` out"
            )

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        templates = pairs.template.unique()
        try:
            rows, of_row = by_example(pairs, templates)
        except IncompleteError as error:
            raise NumericalError(str(error)) from error
        if not bool(rows.isfinite().all()):
            bad = int((~rows.isfinite().all(dim=1)).nonzero()[0, 0])
            raise NumericalError(f"the model's log-odds of training example {bad} are not finite")
        labels = label_rows(pairs).to(rows)
        # Where a control has shuffled labels within an example, its label is their mean.
        given = rows.new_zeros(len(labels), len(rows)).index_add_(1, of_row, labels) / len(templates)
        mean, size = rows.mean(dim=0), rows.std(dim=0, correction=0)
        size = torch.where(size > 0, size, 1.0)
        found = minimum((rows - mean) / size, given, self.l2)
        if not bool(found.converged.all()):
            raise NumericalError("log_odds_regression did not converge; use a larger l2")
        weight = found.weight / size
        bias = found.bias - weight @ mean
        return LogOddsReadout(per_seed(weight.float(), len(seeds)), per_seed(bias.float(), len(seeds)), templates)
