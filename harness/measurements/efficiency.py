"""Logit for parameter norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts.measurements import Measurement

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from harness.networks.watched import Watched


class Efficiency(Measurement, frozen=True, kw_only=True):
    """The answer's logit less the mean logit, mean over training questions, for each unit of the parameters' norm. With true labels and much data
    it is that of the generalising circuit, with shuffled labels that of the memorising one."""

    logit: Annotated[float, Meta(gt=0)] | None = 10.0
    """All parameters are multiplied by what makes the logit so large, which makes efficiencies of networks comparable that were trained for unequal
    times or with unequal decay: the logit grows as a power of the norm. If empty the network is taken as it is."""

    source: ClassVar[str] = "Varma et al. 2023 (arXiv 2309.02390), §3"

    def measure(self, watched: Watched) -> np.ndarray:
        import torch

        from harness.networks.circuits import answer_logits, norms_at

        first = watched.recipes[0]
        layout, rows = first.network.layout(first.sizes), [own.nonzero().squeeze(1) for own in watched.trained_on]
        questions = torch.stack([first.world.questions()[own] for own in rows])
        answers = torch.stack([answers[own] for answers, own in zip(watched.answers, rows, strict=True)])

        def answered(flat: Tensor) -> Tensor:
            with torch.no_grad():
                return answer_logits(first.network.logits(layout.views(flat), questions), answers)

        if self.logit is None:
            return (answered(watched.flat) / watched.flat.double().norm(dim=1)).numpy()
        return (self.logit / norms_at(self.logit, answered, watched.flat)).numpy()
