"""What networks that learn games of Othello hold of the board, say of the next move, and say once a disc is turned in their states."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
import numpy as np

from harness.errors import UsageError
from harness.machine.threads import each
from harness.maths import hidden_layer, softmax_regression
from harness.maths.hidden_layer import HiddenLayer
from harness.maths.softmax_regression import Regression
from harness.worlds.boards import Boards, as_moves
from harness.worlds.othello import ONE, Othello

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.watched import Watched

FITTED, TESTED = 600, 300
"""Games on which read-outs are fitted, and others on which they are tested; the same for all networks and steps."""
AT_ONCE = 150
"""Games that go through a network at once."""
SEED = 0x7E57
TRIES = 8
"""Discs of each tested game of which it is tried whether turning one changes what may be played."""

Result = TypeVar("Result")
Coding = Literal["mine_yours", "black_white"]
Along = Literal["probe", "means", "random", "none"]


class Turned(msgspec.Struct, frozen=True):
    """Discs that are turned, one of a board."""

    game: np.ndarray
    """The game among those that are tested, int64, (case,)."""
    move: np.ndarray
    """The move after which the board is looked at, counted from 0."""
    square: np.ndarray
    """The disc's square."""
    before: np.ndarray
    """Whose disc it is: class 1 for that of the player who moves next, 2 for the other's."""
    legal: np.ndarray
    """What may be played once it is turned, bool, (case, token)."""


class Games:
    """Networks at one step, on games that are drawn anew. What is asked for is computed once."""

    def __init__(self, watched: Watched):
        self.watched = watched
        self._readings: dict[tuple[int, Coding], list[Regression]] = {}
        self._layered: dict[tuple[int, Coding], list[HiddenLayer]] = {}

    @cached_property
    def world(self) -> Othello:
        """The world. Raises UsageError for another one."""
        world = self.watched.recipes[0].world
        if not isinstance(world, Othello):
            raise UsageError("this world has no board; measure something else")
        return world

    @cached_property
    def games(self) -> Tensor:
        """int64, (game, move), the fitted ones first; the move that comes after the last position is left out."""
        return self.world.drawn(FITTED + TESTED, SEED)[:, :-1]

    @cached_property
    def boards(self) -> Boards:
        return Boards.of(self.world, self.games.numpy())

    @cached_property
    def going(self) -> np.ndarray:
        """Where the game goes on, bool, (game, move)."""
        return np.asarray(self.boards.legal.any(-1))

    def classes(self, coding: Coding) -> np.ndarray:
        """What stands on each square, int64, (game, move, square): 0 for nothing, 1 for a disc of the player who moves next, or a black one, 2 for the other's."""
        board = self.boards.mine if coding == "mine_yours" else self.boards.colours
        return board.astype(np.int64) % 3

    @cached_property
    def states(self) -> Tensor:
        """float32, (network, layer, game, move, width)."""
        return self._seen[0]

    @cached_property
    def logits(self) -> Tensor:
        """float32, (network, game, move, token)."""
        return self._seen[1]

    def readings(self, layer: int, coding: Coding) -> list[Regression]:
        """Linear read-outs of the board at a layer, one of each network, fitted on the first games."""
        return self._fitted(self._readings, softmax_regression.fitted, layer, coding)

    def layered_readings(self, layer: int, coding: Coding) -> list[HiddenLayer]:
        """The same with a hidden layer."""
        return self._fitted(self._layered, hidden_layer.fitted, layer, coding)

    def _fitted(
        self,
        kept: dict[tuple[int, Coding], list[Result]],
        fitted: Callable[[Tensor, Tensor, int], Result],
        layer: int,
        coding: Coding,
    ) -> list[Result]:
        import torch

        if (layer, coding) not in kept:
            on, states = torch.from_numpy(self.going[:FITTED]), self.states
            classes = torch.from_numpy(self.classes(coding)[:FITTED])[on]
            kept[layer, coding] = self._each(lambda network: fitted(states[network, layer, :FITTED][on], classes, 3))
        return kept[layer, coding]

    @cached_property
    def turned(self) -> Turned:
        """Single discs of boards of tested games by whose turning what may be played becomes something else, and not nothing."""
        world, random = self.world, np.random.default_rng(SEED)
        games = np.arange(FITTED, FITTED + TESTED).repeat(TRIES)
        moves = (random.random(len(games)) * self.going.sum(1)[games]).astype(int)
        board = self.classes("mine_yours")[games, moves]
        squares = np.where(board > 0, random.random(board.shape), -1.0).argmax(1)
        seen = world.replayed(self.games)
        mine, yours, legal = (part[games, moves] for part in (seen.mine, seen.yours, seen.legal))
        disc = ONE << squares.astype(np.uint64)
        found = world.legal(mine ^ disc, yours ^ disc)
        kept = (found != legal) & (found != 0)
        before = board[np.arange(len(games)), squares]
        return Turned(*(part[kept] for part in (games, moves, squares, before, as_moves(found, world))))

    def said_once_turned(self, along: Along, layers: range, strength: float = 1.0) -> Tensor:
        """Logits after the move at which a disc is turned in the states of these layers, float32, (network, case, token).

        A state is moved along a direction of the disc's square, of unit length, to the mean of states in which the disc is the other player's, or, with another
        `strength`, so many times as far from the middle between both means. `probe`: the direction in which the log-odds of the two rise fastest. `means`: from the mean of
        the ones to the mean of the others. `random`: as far as `probe` moves it, along random directions. `none`: it stays.
        """
        import torch

        assert len(self.turned.game) == len(self.turned.legal) and len(self.states), (
            "worked out once, before threads ask for it"
        )
        layers = range(0) if along == "none" else layers
        if along != "means":
            for layer in layers:
                self.readings(layer, "mine_yours")
        return torch.stack(self._each(lambda network: self._turning(network, along, layers, strength)))

    def _turning(self, network: int, along: Along, layers: range, strength: float) -> Tensor:
        import torch

        turned = self.turned
        cases, moves, squares = (torch.from_numpy(part) for part in (turned.game, turned.move, turned.square))
        other = torch.from_numpy(3 - turned.before)
        names = [self.watched.recipes[0].network.layers()[layer] for layer in layers]
        generator = torch.Generator().manual_seed(SEED + network)
        along_layers = [self._directions(network, layer, along) for layer in layers]
        found = []
        for part in torch.arange(len(cases)).split(AT_ONCE):
            rows = torch.arange(len(part))

            def moved(place: str, states: Tensor, part: Tensor = part, rows: Tensor = rows) -> Tensor:
                if place not in names:
                    return states
                at = names.index(place)
                own = states[0, rows, moves[part]]
                direction, both = (of[squares[part]] for of in along_layers[at])
                middle = both.mean(1)
                goal = middle + strength * (both[torch.arange(len(part)), other[part] - 1] - middle)
                length = goal - (own * direction).sum(1)
                if along == "random":
                    drawn = torch.randn(own.shape, generator=generator)
                    direction = drawn / drawn.norm(dim=1, keepdim=True)
                changed = states.clone()
                changed[0, rows, moves[part]] = own + length[:, None] * direction
                return changed

            said = self._through(network, self.games[cases[part]], moved)
            found.append(said[rows, moves[part]])
        return torch.cat(found)

    def _directions(self, network: int, layer: int, along: Along) -> tuple[Tensor, Tensor]:
        """The direction of each square, (square, width), and how far along it the states of the fitted games are on average where a disc there is the next player's and
        where it is the other's, (square, 2)."""
        import torch

        on = torch.from_numpy(self.going[:FITTED])
        states = self.states[network, layer, :FITTED][on]
        classes = torch.from_numpy(self.classes("mine_yours")[:FITTED])[on]
        member = torch.stack([classes == 1, classes == 2]).float()
        # (class, square, width)
        means = member.transpose(1, 2) @ states / member.sum(1).clamp(min=1)[..., None]
        direction = means[0] - means[1]
        if along != "means":
            weight = self.readings(layer, "mine_yours")[network].weight
            direction = (weight[..., 1] - weight[..., 2]).T
        direction = direction / direction.norm(dim=1, keepdim=True).clamp(min=torch.finfo().tiny)
        return direction, (means * direction).sum(2).T

    @cached_property
    def _seen(self) -> tuple[Tensor, Tensor]:
        import torch

        layers = self.watched.recipes[0].network.layers()

        def seen(network: int) -> tuple[Tensor, Tensor]:
            states, logits = [], []
            for games in self.games.split(AT_ONCE):
                places: dict[str, Tensor] = {}

                def kept(place: str, there: Tensor, places: dict[str, Tensor] = places) -> Tensor:
                    places[place] = there[0]
                    return there

                logits.append(self._through(network, games, kept))
                states.append(torch.stack([places[layer] for layer in layers]))
            return torch.cat(states, dim=1), torch.cat(logits)

        states, logits = zip(*self._each(seen), strict=True)
        return torch.stack(states), torch.stack(logits)

    def _through(self, network: int, games: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
        """Logits of one network, (game, move, token)."""
        import torch

        own = self.watched.recipes[network]
        parameters = own.network.layout(own.sizes).views(self.watched.flat[network][None])
        with torch.no_grad():
            return own.network.logits(parameters, games[None], at)[0]

    def _each(self, read: Callable[[int], Result]) -> list[Result]:
        """What is read of each network, on one thread each."""
        assert len(self.watched.flat) == len(self.watched.recipes) and len(self.going), (
            "worked out once, before threads ask for it"
        )
        return each(read, range(len(self.watched.recipes)))


@lru_cache(maxsize=1)
def seen_in(watched: Watched) -> Games:
    """The networks on these games, once for all measurements that ask for them."""
    return Games(watched)
