"""Small transformers that learn to tell the next move of random games of Othello, of whose boards nobody tells them anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from harness.contracts import Factor
from harness.networks.drawn_bed import DrawnBed
from harness.networks.trained_bed import Decay, Rate, Steps
from harness.networks.transformer import Transformer
from harness.worlds import othello
from harness.worlds.boards import Boards

if TYPE_CHECKING:
    import polars as pl


class OnGames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many networks are trained, and how: with AdamW, on games that are drawn for each step, to tell each next move."""

    networks: Annotated[int, Meta(ge=1, le=512)] = 6
    """Networks, trained together. They differ in their seed, which draws what they begin with and their games; intervals of measurements are over
    them, and fewer than six say nothing of others."""
    steps: Steps = 12000
    """Steps of training."""
    every: Annotated[int, Meta(ge=1)] = 3000
    """The networks are stored at step 0, after so many steps each, and at the last one: the steps that measurements and `step` can name."""
    batch: Annotated[int, Meta(ge=1, le=65536)] = 32
    """Games of a step."""
    learning_rate: Rate = 3e-3
    """Of AdamW. It rises over the first steps, stays up to half of them, and falls to zero at the last one."""
    warm_up: Annotated[int, Meta(ge=0)] = 100
    """Steps over which it rises."""
    weight_decay: Decay = 0.01
    """Of AdamW."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Seed of the first network; the next one has the next."""

    then: ClassVar[None] = None


class Othello(DrawnBed, frozen=True, kw_only=True):
    """Small transformers that tell the next move of games of Othello whose moves are drawn from all legal ones alike. They read moves alone; which moves are legal
    depends on the board, and each disc that stands on it may have been turned many times.

    A row is the beginning of a game, each one once, after which a disc stands on one square, read at its last move. Its truth is whose disc that is: of the player
    who is to move next (`mine`) or of the other (`yours`). `colour` is its colour; `board` and `colours` are vectors of all squares: 1 for mine, or black, −1 for
    the other, and 0 for none.
    """

    side: Literal[4, 6, 8] = 6
    """Squares of a side of the board."""
    square: str = "c3"
    """The square that the truth is about: a letter for its column and a number for its row, from the upper left corner."""
    network: Literal["transformer"] = "transformer"
    """Blocks of attention and rectified units with layer norm, which answer at each position; layer 0 is the embedding."""
    blocks: Annotated[int, Meta(ge=1, le=32)] = 4
    """Blocks of the transformer, each of which is a layer."""
    d_model: Annotated[int, Meta(ge=1, le=4096)] = 96
    """Width of the residual stream."""
    heads: Annotated[int, Meta(ge=1, le=64)] = 4
    """Attention heads of a block, which share the width."""
    d_mlp: Annotated[int, Meta(ge=1, le=16384)] = 384
    """Rectified units of a block."""
    train: OnGames = OnGames()  # type: ignore[assignment]
    """How the networks are trained."""

    answers: ClassVar[tuple[str, ...]] = ("yours", "mine")
    source: ClassVar[str] = "Li et al. 2022 (arXiv 2210.13382); Nanda et al. 2023 (arXiv 2309.00941)"

    def __post_init__(self) -> None:
        if self.square not in named(self.side):
            raise ValueError(
                f"square: there is no {self.square} on a board of {self.side} × {self.side}; give {named(self.side)[0]} to {named(self.side)[-1]}"
            )
        DrawnBed.__post_init__(self)

    @property
    def world(self) -> othello.Othello:
        return othello.Othello(side=self.side)

    @property
    def made(self) -> Transformer:
        return Transformer(
            blocks=self.blocks,
            d_model=self.d_model,
            heads=self.heads,
            d_mlp=self.d_mlp,
            layer_norm=True,
            answers="each",
        )

    @property
    def factors(self) -> tuple[Factor, ...]:  # type: ignore[override]
        """The square by colours, and the whole board both ways."""
        squares = named(self.side)
        return (
            Factor("colour", ("white", "black")),
            Factor("board", squares, "vector"),
            Factor("colours", squares, "vector"),
        )

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """Beginnings of games in an order drawn from the seed, one of each game; a larger count keeps those of a smaller one."""
        import numpy as np
        import polars as pl

        world, place = self.world, named(self.side).index(self.square)
        random = np.random.default_rng([0x0E11, seed])
        games = world.questions()[random.permutation(world.rows)].numpy()
        seen = Boards.of(world, games)
        with_disc = seen.legal.any(-1) & (seen.mine[..., place] != 0)
        ends = np.where(with_disc, random.random(games.shape), -1.0).argmax(1)
        asked = {
            tuple(game[: end + 1].tolist()): (row, end)
            for row, (game, end) in enumerate(zip(games, ends, strict=True))
            if with_disc[row, end]
        }
        beginnings = list(asked)[:count]
        rows, last = zip(*(asked[own] for own in beginnings), strict=True)
        mine, colours = seen.mine[rows, last], seen.colours[rows, last]
        names = ["-".join(map(str, own)) for own in beginnings]
        return pl.DataFrame(
            {
                "example": names,
                "group": names,
                "label": (mine[:, place] == 1).astype(int),
                "colour": (colours[:, place] == 1).astype(int),
                "board": mine.astype(float).tolist(),
                "colours": colours.astype(float).tolist(),
                "tokens_0": pl.Series(list(map(list, beginnings)), dtype=pl.List(pl.UInt32)),
            }
        )


def named(side: int) -> tuple[str, ...]:
    """The names of squares, from the upper left corner on, row by row."""
    return tuple(f"{chr(97 + column)}{row + 1}" for row in range(side) for column in range(side))
