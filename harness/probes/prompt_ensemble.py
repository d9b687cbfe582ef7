"""The model's own answer to several wordings of a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from harness.contracts import Pairs, Probe, Readout
from harness.errors import NumericalError
from harness.readouts.fitted_probes import EnsembleReadout, needed_log_odds


class PromptEnsemble(Probe, frozen=True, kw_only=True):
    """What the model itself answers on average over all templates of an example: one answer to one question, however worded.

    A black-box way: it reads nothing but the model's output, and every template is another pass. Give several under
    `prompt.templates`; orders of the answers or other characters can be templates too. With one it is `zero_shot`.
    """

    calibrated: bool = True
    """Take the median log-odds of each template's training rows away first, so that a wording that invites one answer has no
    more say than the others. Needs no labels, but takes for granted that the data are balanced."""
    of: Literal["log_odds", "answers"] = "log_odds"
    """`log_odds` lets a template count for as much as it is sure. `answers` counts each once: the share of templates that give
    answers[1] is the probability, so that consistency under paraphrase is the confidence."""
    normalise: str = "none"
    """Nothing else is possible: log-odds are not states."""

    source: ClassVar[str] = (
        "Burns et al. 2022 (arXiv 2212.03827), §3.1, calibrated zero-shot; Jiang et al. 2020, prompt ensembles"
    )
    reads: ClassVar = "log_odds"
    asks: ClassVar = "example"

    def __post_init__(self) -> None:
        if self.normalise != "none":
            raise ValueError(
                f"{self.kind()} reads no states, so that there is nothing to normalise; take `normalise` out"
            )

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        log_odds = needed_log_odds(pairs).float()
        bad = (~log_odds.isfinite()).nonzero()
        if len(bad):
            raise NumericalError(f"the model's log-odds of training pair {int(bad[0, 0])} are not finite")
        templates = pairs.template.unique().tolist()
        threshold = log_odds.new_zeros(len(templates))
        for place, template in enumerate(templates):
            own = log_odds[pairs.template == template]
            if len(own) < 2:
                raise NumericalError(
                    f"prompt_ensemble needs two training pairs of every template, template {template} has {len(own)}; raise "
                    "data.limit"
                )
            if self.calibrated:
                threshold[place] = torch.quantile(own, 0.5)
        return EnsembleReadout(
            threshold.expand(len(seeds), -1).contiguous(),
            torch.tensor(templates),
            torch.tensor([self.of == "answers"], dtype=torch.uint8),
        )
