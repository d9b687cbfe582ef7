"""Othello: legal games whose moves are drawn, and the boards that they lead to, on bit boards, many games at once (Li et al. 2022, arXiv 2210.13382)."""

from __future__ import annotations

import itertools
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import msgspec
import numpy as np

from harness.errors import UsageError
from harness.worlds.sequences import Sequences

if TYPE_CHECKING:
    from torch import Tensor

Bits = np.ndarray
"""Sets of squares, uint64, (game,): bit `side` × row + column is that square."""

SIDES = (4, 6, 8)
ROWS = {4: 256, 6: 4096, 8: 4096}
"""Games that stand for all, of which there are too many to count, by the side of the board."""
SEED = 0x07E1
ONE = np.uint64(1)


class Replayed(msgspec.Struct, frozen=True):
    """The boards of games after each of their moves, (game, move) each. After the end of a game the board stays."""

    mine: Bits
    """Discs of the player who is to move next. After a game's end: of the one who did not move last."""
    yours: Bits
    """Discs of the other player."""
    black: np.ndarray
    """Whether the player who is to move next is black, bool."""
    legal: Bits
    """Squares that this player may take; none after a game's end."""


class Othello(Sequences, frozen=True, kw_only=True):
    """Games of Othello, each of whose moves is drawn from all legal ones alike, as the tokens of the squares that are taken, in turn.

    Black begins. A player without a legal move passes, of which the moves say nothing; where neither has one the game ends, and is filled up with
    the token `pad`, of which nothing is learned.
    """

    ragged: ClassVar[bool] = True

    side: int = 6
    """Squares of a side of the board."""

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise UsageError(f"side: a board of {self.side} squares is none; give {', '.join(map(str, SIDES))}")

    @property
    def squares(self) -> int:
        return self.side**2

    @property
    def moves(self) -> int:
        """Moves of the longest games: all squares but the four that are taken before."""
        return self.squares - 4

    @property
    def pad(self) -> int:
        """The token after a game's end."""
        return self.moves

    @property
    def vocabulary(self) -> int:
        return self.moves + 1

    @property
    def context(self) -> int:
        return self.moves - 1

    @property
    def classes(self) -> int:
        return self.moves + 1

    @property
    def rows(self) -> int:
        return ROWS[self.side]

    def questions(self) -> Tensor:
        """Games that are drawn once and for all, each one once."""
        return _drawn_once(self)[:, :-1].clone()

    def answers(self) -> Tensor:
        """The last moves of these, `pad` where they are over before."""
        return _drawn_once(self)[:, -1].clone()

    def drawn(self, count: int, seed: int) -> Tensor:
        import torch

        random = np.random.default_rng([SEED, seed])
        played = np.full((count, self.moves), self.pad, dtype=np.int64)
        tokens = _tokens(self.side)
        mine, yours = self.beginning(count)
        for move in range(self.moves):
            mine, yours, legal, _ = self._to_move(mine, yours)
            going = np.flatnonzero(legal)
            if not len(going):
                break
            counts = np.bitwise_count(legal[going])
            chosen = _kth(legal[going], (random.random(len(going)) * counts).astype(np.int64))
            played[going, move] = tokens[_place(chosen)]
            mine[going], yours[going] = self.after(mine[going], yours[going], chosen)
        return torch.from_numpy(played)

    def told(self, sequences: Tensor) -> Tensor:
        return sequences[..., 1:] != self.pad

    def beginning(self, count: int) -> tuple[Bits, Bits]:
        """Discs of the player who is to move and of the other one before the first move."""
        half, side = self.side // 2, self.side
        white = (1 << (half - 1) * side + half - 1) | (1 << half * side + half)
        black = (1 << (half - 1) * side + half) | (1 << half * side + half - 1)
        return np.full(count, black, dtype=np.uint64), np.full(count, white, dtype=np.uint64)

    def legal(self, mine: Bits, yours: Bits) -> Bits:
        """The squares that the owner of `mine` may take: empty ones from which a straight line of the other's discs leads to an own one."""
        empty, found = ~(mine | yours) & np.uint64((1 << self.squares) - 1), np.zeros_like(mine)
        for direction in _directions(self.side):
            found |= direction.step(self._line(direction, mine, yours))
        return found & empty

    def after(self, mine: Bits, yours: Bits, taken: Bits) -> tuple[Bits, Bits]:
        """Discs of the other player, who moves next unless he must pass, and of the owner of `mine`, after the latter took a square."""
        turned = np.zeros_like(mine)
        for direction in _directions(self.side):
            line = self._line(direction, taken, yours)
            turned |= np.where(direction.step(line) & mine, line, np.uint64(0))
        return yours & ~turned, mine | turned | taken

    def replayed(self, sequences: Tensor) -> Replayed:
        """The boards of legal games (game, move). Raises UsageError for a move that is not legal."""
        games = sequences.numpy()
        mine, yours = self.beginning(len(games))
        black, squares = np.ones(len(games), dtype=bool), squares_of(self.side)
        mine, yours, legal, _ = self._to_move(mine, yours)
        found: list[tuple[np.ndarray, ...]] = []
        for move, tokens in enumerate(games.T):
            going = np.flatnonzero(tokens != self.pad)
            taken = ONE << squares[tokens[going]]
            if not (legal[going] & taken).all():
                raise UsageError(f"move {move} of a game is not legal; give games of this board's side, {self.side}")
            mine[going], yours[going] = self.after(mine[going], yours[going], taken)
            mine, yours, legal, passed = self._to_move(mine, yours)
            black = black ^ (tokens != self.pad) ^ passed
            found.append((mine.copy(), yours.copy(), black, legal))
        return Replayed(*(np.stack(part, axis=1) for part in zip(*found, strict=True)))

    def _line(self, direction: Direction, start: Bits, through: Bits) -> Bits:
        """The unbroken discs of `through` next to `start` in a direction."""
        within = through & direction.within
        line = direction.step(start) & within
        for _ in range(self.side - 3):
            line |= direction.step(line) & within
        return line

    def _to_move(self, mine: Bits, yours: Bits) -> tuple[Bits, Bits, Bits, np.ndarray]:
        """The discs once who has no legal move has passed, the legal moves, and whether he passed: not where neither has one."""
        mine, yours, legal = mine.copy(), yours.copy(), self.legal(mine, yours)
        stuck = np.flatnonzero(legal == 0)
        others = self.legal(yours[stuck], mine[stuck])
        passing = stuck[others != 0]
        mine[passing], yours[passing] = yours[passing], mine[passing]
        legal[passing] = others[others != 0]
        passed = np.zeros(len(mine), dtype=bool)
        passed[passing] = True
        return mine, yours, legal, passed


class Direction(msgspec.Struct, frozen=True):
    """One of the eight directions of lines."""

    shift: int
    """Bits by which a square's neighbour lies further on, or back."""
    within: np.uint64
    """The squares that a line can go through: not those at the sides, from which a step leads to another row."""

    def step(self, squares: Bits) -> Bits:
        """The neighbours of squares."""
        by = np.uint64(abs(self.shift))
        return squares << by if self.shift > 0 else squares >> by


@cache
def _directions(side: int) -> tuple[Direction, ...]:
    whole = (1 << side**2) - 1
    inner = sum(1 << row * side + column for row in range(side) for column in range(1, side - 1))
    return tuple(
        Direction(down * side + right, np.uint64(inner if right else whole))
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
        if down or right
    )


@cache
def squares_of(side: int) -> np.ndarray:
    """The place of the square that each token takes, uint64, (token,)."""
    half = side // 2
    taken = {row * side + column for row in (half - 1, half) for column in (half - 1, half)}
    return np.array([square for square in range(side**2) if square not in taken], dtype=np.uint64)


@cache
def _tokens(side: int) -> np.ndarray:
    """The token of each square, int64, (square,); -1 for those that are taken from the beginning."""
    found = np.full(side**2, -1, dtype=np.int64)
    found[squares_of(side)] = np.arange(side**2 - 4)
    return found


def _kth(squares: Bits, number: np.ndarray) -> Bits:
    """The square of each set that has so many before it."""
    rest = squares
    for passed in range(int(number.max(initial=0))):
        rest = np.where(number > passed, rest & (rest - ONE), rest)
    return rest & (~rest + ONE)


def _place(square: Bits) -> np.ndarray:
    """The place of the only square of each set, int64."""
    return np.bitwise_count(square - ONE).astype(np.int64)


@cache
def _drawn_once(world: Othello) -> Tensor:
    import torch

    games: dict[tuple[int, ...], None] = {}
    # The first seeds: those of training are far above.
    seeds = itertools.count()
    while len(games) < world.rows:
        games |= dict.fromkeys(map(tuple, world.drawn(world.rows, next(seeds)).tolist()))
    return torch.tensor(list(games)[: world.rows])
