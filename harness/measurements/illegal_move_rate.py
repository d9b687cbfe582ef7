"""How often a network says a next move that the rules forbid."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from harness.measurements._games import OfGames

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class IllegalMoveRate(OfGames, frozen=True, kw_only=True):
    """Share of positions of games of Othello at which the next move that a network holds for likeliest is not legal, or the probability that it gives to all
    moves that are not.

    Games are drawn anew, so that nearly no position but the first ones was seen in training: moves that are legal there follow from the board.
    """

    counted: Literal["first_choice", "probability"] = "first_choice"
    """The likeliest move, or the probability of all of them."""

    source: ClassVar[str] = "Li et al. 2022 (arXiv 2210.13382), §2"

    def measure(self, watched: Watched) -> np.ndarray:
        import torch

        seen = self.games(watched)
        legal, on = torch.from_numpy(seen.boards.legal), torch.from_numpy(seen.going)
        found = []
        for logits in seen.logits:
            if self.counted == "first_choice":
                right = legal.gather(2, logits.argmax(-1, keepdim=True))[..., 0].double()
            else:
                right = (logits.double().softmax(-1) * legal).sum(-1)
            found.append(1 - right[on].mean())
        return torch.stack(found).numpy()
