"""What a network says of the next move once a disc is turned in its states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.measurements._games import OfGames

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched


class TurnedErrors(OfGames, frozen=True, kw_only=True):
    """Errors a board once a disc is turned in the states of a network: of its likeliest moves, as many as are legal on the board with that disc turned, those that
    are not legal there, and the legal ones that are not among them.

    States are moved at the last move, at some layers one after the other, along the direction in which a linear read-out tells whose disc stands there, to the mean of
    states in which it is the other player's. `along: none` is the same network left alone, which the rules of the board before would have it answer. Boards
    are those of other games than the read-out is fitted on, each with a disc by whose turning other moves become legal.
    """

    along: Literal["probe", "means", "random", "none"] = "probe"
    """`probe`: the direction in which the read-out's log-odds rise. `means`: that between the means of states with either player's disc there.
    `random`: as far as `probe`, along random directions, a control. `none`: nothing is moved."""
    layers: tuple[int, int] = (1, -1)
    """The first and the last layer at which states are moved; negative ones count from the last."""
    strength: Annotated[float, Meta(gt=0, le=100)] = 1.0
    """How far states are moved: to the mean of the other player's with 1, else so many times as far from the middle between both means."""
    board: Literal["turned", "own"] = "turned"
    """Whose legal moves are right: those of the board with the disc turned, or of the board as it is."""

    source: ClassVar[str] = "Li et al. 2022 (arXiv 2210.13382), §4; Nanda et al. 2023 (arXiv 2309.00941), §3.2"

    def problem(self, bed: TrainedBed) -> str:
        if said := super().problem(bed):
            return said
        for layer in self.layers:
            if said := bed.no_layer(layer):
                return said
        if not self.range_of(bed.shape[0]):
            return f"{self.title}: layers {self.layers[0]} to {self.layers[1]} are none; give the first one first"
        return ""

    def range_of(self, count: int) -> range:
        """The layers at which states are moved, of so many."""
        first, last = (range(count)[layer] for layer in self.layers)
        return range(first, last + 1)

    def measure(self, watched: Watched) -> np.ndarray:
        import torch

        seen = self.games(watched)
        turned = seen.turned
        said = seen.said_once_turned(self.along, self.range_of(seen.states.shape[1]), self.strength)
        right = turned.legal if self.board == "turned" else seen.boards.legal[turned.game, turned.move]
        legal = torch.from_numpy(right)
        place = said.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        chosen = place < legal.sum(-1, keepdim=True)
        return (chosen ^ legal).sum(-1).double().mean(-1).numpy()
