"""The boards of games of Othello as numbers: what stands on each square, by who is to move and by colour, and what may be taken."""

from __future__ import annotations

import msgspec
import numpy as np

from harness.worlds.othello import ONE, Bits, Othello, squares_of


class Boards(msgspec.Struct, frozen=True):
    """Boards of games after each move. After a game's end the board stays."""

    mine: np.ndarray
    """1 for a disc of the player who is to move next, -1 for one of the other, 0 for none, int8, (game, move, square)."""
    black: np.ndarray
    """Whether the player who is to move next is black, bool, (game, move)."""
    legal: np.ndarray
    """Which moves are legal, bool, (game, move, token), never that of `pad`."""

    @classmethod
    def of(cls, world: Othello, games: np.ndarray) -> Boards:
        """Those of legal games, int64, (game, move). Raises UsageError for a move that is not legal."""
        import torch

        seen = world.replayed(torch.from_numpy(games))
        mine, yours = on_squares(seen.mine, world), on_squares(seen.yours, world)
        return cls(mine.astype(np.int8) - yours, seen.black, as_moves(seen.legal, world))

    @property
    def colours(self) -> np.ndarray:
        """1 for a black disc, -1 for a white one, 0 for none, int8, (game, move, square)."""
        return np.where(self.black[..., None], self.mine, -self.mine)


def on_squares(squares: Bits, world: Othello) -> np.ndarray:
    """Which squares are in sets (…,), bool, (…, square)."""
    places = np.arange(world.squares, dtype=np.uint64)
    return (squares[..., None] >> places & ONE).astype(bool)


def as_moves(squares: Bits, world: Othello) -> np.ndarray:
    """Which tokens' squares are in sets (…,), bool, (…, token)."""
    found = np.zeros((*squares.shape, world.vocabulary), dtype=bool)
    found[..., : world.moves] = (squares[..., None] >> squares_of(world.side) & ONE).astype(bool)
    return found
