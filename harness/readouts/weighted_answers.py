"""What a network answers to several questions about one example, weighted: a fitted form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Pairs, Readout
from harness.errors import UsageError
from harness.readouts.fitted_probes import needed_log_odds

if TYPE_CHECKING:
    from torch import Tensor


class IncompleteError(UsageError):
    """An example is not asked all questions."""


class LogOddsReadout(Readout, frozen=True):
    """score = Σ_t weight_t · log-odds under template t + bias; every row of an example has the same score."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "weight": ("seed", "template"),
        "bias": ("seed",),
        "template": ("template",),
    }

    weight: Tensor
    """Float32, (seed, template)."""
    bias: Tensor
    """Float32, (seed,)."""
    template: Tensor
    """Which templates these are, sorted, int64, (template,)."""

    def answers(self, pairs: Pairs) -> Answers:
        rows, of_row = by_example(pairs, self.template)
        score = (rows @ self.weight.to(rows).T).T + self.bias.to(rows)[:, None]
        score = score[:, of_row].float()
        return Answers(score[:, None].cpu().numpy(), score.sigmoid()[:, None].cpu().numpy())


def by_example(pairs: Pairs, templates: Tensor) -> tuple[Tensor, Tensor]:
    """The network's log-odds, float64, (example, template), and which example each row is of, int64, (row,). `templates` are sorted.

    Raises IncompleteError where an example is not asked under each of them once, or under others."""
    import torch

    log_odds = needed_log_odds(pairs).double()
    known = templates.to(pairs.template)
    place = torch.searchsorted(known, pairs.template).clamp_max(len(known) - 1)
    example = torch.arange(len(place), device=place.device) if pairs.example is None else pairs.example
    names, of_row = example.unique(return_inverse=True)
    found = log_odds.new_full((len(names), len(known)), float("nan"))
    found[of_row, place] = log_odds
    if not torch.equal(known[place], pairs.template) or len(log_odds) != found.numel() or bool(found.isnan().any()):
        raise IncompleteError(
            "log_odds_regression takes the answers of an example to all questions together: every example must be asked under each template that it "
            "was fitted on, and no others; give both conditions the same ones"
        )
    return found, of_row
