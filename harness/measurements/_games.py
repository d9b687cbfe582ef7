"""What is measured of networks that learn games of Othello."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts.measurements import Learnt, Measurement
from harness.worlds.othello import Othello

if TYPE_CHECKING:
    from harness.networks.games import Games
    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched


class OfGames(Measurement, frozen=True, kw_only=True):
    """A number about networks on games that are drawn anew, the same ones for all networks and steps. What comes after a game's end does not count."""

    learnt: ClassVar[Learnt] = "sequences"

    def problem(self, bed: TrainedBed) -> str:
        if (said := super().problem(bed)) or isinstance(bed.world, Othello):
            return said
        return f"{self.title} is of games of Othello, as `bed: othello` has them; measure something else"

    def games(self, watched: Watched) -> Games:
        """The networks on these games."""
        from harness.networks.games import seen_in

        return seen_in(watched)
