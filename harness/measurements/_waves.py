"""Logits of which some waves are kept, or taken out, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.measurements._frequencies import OfFrequencies

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.watched import Watched


class LossOfWaves(OfFrequencies, frozen=True, kw_only=True):
    """A loss of logits that are altered at some frequencies."""

    questions: Literal["others", "all"] = "others"
    """What waves are read off: `others` are the questions that a network is not trained on, `all` what the paper takes. In the mean over all, a table
    of answers to some of them has a peak at each answer, which looks like a circuit and is none."""

    unit: ClassVar[str] = "nats"
    scale: ClassVar[str] = "loss"
    source: ClassVar[str] = "Nanda et al. 2023 (arXiv 2301.05217), §5.1"

    def shares(self, watched: Watched) -> Tensor:
        return watched.shares if self.questions == "all" else watched.shares_of_others

    def losses(
        self, watched: Watched, alter: Callable[[Tensor, Sequence[int], Literal[1, -1], Tensor | None], Tensor]
    ) -> Tensor:
        """Cross entropy of each question in the order of the group, nats, float64, (network, row)."""
        import torch

        from harness.maths.modular_fourier import cross_entropy

        read = [None] * len(watched.recipes) if self.questions == "all" else watched.others
        each = zip(watched.cube, watched.cube_answers, self.kept(watched), read, strict=True)
        return torch.stack(
            [cross_entropy(alter(cube, keys, watched.sign, of).flatten(0, 1), own) for cube, own, keys, of in each]
        )
