"""How well the board can be read off the states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.measurements._games import OfGames

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.games import Games
    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched


class BoardAccuracy(OfGames, frozen=True, kw_only=True):
    """Share of squares of which a read-out of the states says rightly what stands there: one of three classes for each square, told by a softmax regression
    that was fitted on other games, or by a network with a hidden layer.

    Empty squares follow from the moves, so that any network seems to hold the board: only those with a disc count, of which whose it is must be told. The level
    of who reads nothing is that of `read: majority`.
    """

    coding: Literal["mine_yours", "black_white"] = "mine_yours"
    """The classes. `mine_yours`: a disc of the player who moves next, of the other one, or none. `black_white`: by its colour."""
    read: Literal["states", "mlp", "majority"] = "states"
    """`states`: linearly. `mlp`: by a network with a hidden layer that all squares share, which finds what is there in another form. `majority`: no network, but which of the two stands there most often after so many moves, the same for all networks."""
    layer: int = -1
    """The layer; negative ones count from the last."""
    squares: Literal["occupied", "all"] = "occupied"
    """Those that count: with a disc, or all."""
    first_move: Annotated[int, Meta(ge=1)] = 1
    """Boards after this move and later ones count."""
    last_move: Annotated[int, Meta(ge=1)] | None = None
    """Boards after this move and earlier ones count; all later ones if empty."""

    source: ClassVar[str] = "Li et al. 2022 (arXiv 2210.13382), §3; Nanda et al. 2023 (arXiv 2309.00941), §3.1"

    def problem(self, bed: TrainedBed) -> str:
        if (said := super().problem(bed)) or (said := bed.no_layer(self.layer)):
            return said
        positions, last = bed.recipes[0].sizes.context, self.last_move
        if self.first_move > min(positions, positions if last is None else last):
            return f"{self.title}: there are no boards from move {self.first_move} to {last or positions} of {positions}; give a range that has some"
        return ""

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np

        from harness.networks.games import FITTED

        seen, networks = self.games(watched), len(watched.recipes)
        classes = seen.classes(self.coding)[FITTED:]
        counted = seen.going[FITTED:, :, None] & ((classes > 0) | (self.squares == "all"))
        counted = counted[:, self.first_move - 1 : self.last_move]
        if self.read == "majority":
            said = self._commonest(seen)
            return np.full(networks, self._share(said, classes, counted))
        layer = range(seen.states.shape[1])[self.layer]
        if self.read == "mlp":
            logits = [reading.logits for reading in seen.layered_readings(layer, self.coding)]
        else:
            logits = [reading.logits for reading in seen.readings(layer, self.coding)]
        tested = seen.states[:, layer, FITTED:]
        return np.array(
            [
                self._share(read(states).argmax(-1).numpy(), classes, counted)
                for read, states in zip(logits, tested, strict=True)
            ]
        )

    def _share(self, said: np.ndarray, classes: np.ndarray, counted: np.ndarray) -> float:
        """Share of what counts, (game, move of the range, square), that is said rightly by (game or 1, move, square)."""
        right = (said == classes)[:, self.first_move - 1 : self.last_move]
        return float(right[counted].mean())

    def _commonest(self, seen: Games) -> np.ndarray:
        """The commonest class of each square after each move of the fitted games, (1, move, square): among discs, where they alone count."""
        import numpy as np

        from harness.networks.games import FITTED

        least = 1 if self.squares == "occupied" else 0
        own = seen.classes(self.coding)[:FITTED]
        counts = np.stack([((own == one) & seen.going[:FITTED, :, None]).sum(0) for one in range(least, 3)])
        return (counts.argmax(0) + least)[None]
