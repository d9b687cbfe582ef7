"""Processes with hidden states, of which the belief that a reader of their tokens should have is known exactly (Shai et al. 2024, arXiv 2405.15943)."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.worlds.world import World

if TYPE_CHECKING:
    from torch import Tensor

Matrices = tuple[tuple[tuple[float, ...], ...], ...]
"""The probability of going from one state to another and emitting a token on the way: (token, state before, state after)."""

MOST_SEQUENCES = 2**17
"""The most sequences that a process may have: 11 tokens of three, or 17 of two."""
MOST_STATES = MOST_TOKENS = 16
CLOSE = 1e-6
"""How far the probabilities of a state may be from one, together."""


def mess3(x: float = 0.05, a: float = 0.85) -> Matrices:
    """Three states and three tokens: a state is stayed in with 1 − 2x and left for each other one with x; a state tells its own token with `a`.

    The beliefs of all sequences are a fractal in the triangle (Shai et al. 2024, §3.1, from Marzen & Crutchfield 2017).
    """
    other = (1 - a) / 2
    return tuple(
        tuple(
            tuple((a if after == token else other) * (1 - 2 * x if after == before else x) for after in range(3))
            for before in range(3)
        )
        for token in range(3)
    )


def rrxor() -> Matrices:
    """Two random bits and their exclusive or, again and again, where nobody is told where a triple begins (Shai et al. 2024, §3.2).

    Five states: before a triple, after a first 0, after a first 1, and before a last 0 and 1. Different beliefs have the same next tokens.
    """
    ways = {0: ((0, 1), (1, 3), (2, 4), (3, 0)), 1: ((0, 2), (1, 4), (2, 3), (4, 0))}
    half = {0: 0.5, 1: 0.5, 2: 0.5, 3: 1.0, 4: 1.0}
    return tuple(
        tuple(
            tuple(half[before] if (before, after) in ways[token] else 0.0 for after in range(5)) for before in range(5)
        )
        for token in range(2)
    )


class HiddenMarkov(World, frozen=True, kw_only=True):
    """All sequences of so many tokens that a process can emit from its stationary state, each answered with the token that is likeliest to follow.

    Networks that answer at each position learn from sequences that are drawn from the process, as likely as they are.
    """

    transitions: Matrices
    """By token: the probability of emitting it and going from one state to another. Those of a state, over tokens and states, sum to one."""
    length: int = 10
    """Tokens of a sequence."""

    def __post_init__(self) -> None:
        check(self.transitions)
        if self.length < 1:
            raise UsageError(f"length: {self.length} tokens are no sequence; give at least 1")
        possible = _counted(self.transitions, self.length)
        if possible > MOST_SEQUENCES:
            raise UsageError(
                f"length: {self.length} tokens have {possible:,} sequences; give fewer tokens, for at most {MOST_SEQUENCES:,}"
            )

    @property
    def vocabulary(self) -> int:
        return len(self.transitions)

    @property
    def context(self) -> int:
        return self.length

    @property
    def classes(self) -> int:
        return len(self.transitions)

    @property
    def states(self) -> int:
        """Hidden states."""
        return len(self.transitions[0])

    @property
    def rows(self) -> int:
        return _counted(self.transitions, self.length)

    def matrices(self) -> Tensor:
        """float64, (token, state before, state after)."""
        import torch

        return torch.tensor(self.transitions, dtype=torch.float64)

    def start(self) -> Tensor:
        """The stationary distribution, which is the belief before the first token, float64, (state,)."""
        return _stationary(self.transitions).clone()

    def questions(self) -> Tensor:
        return _possible(self.transitions, self.length).clone()

    def answers(self) -> Tensor:
        return _likeliest(self.transitions, self.length).clone()

    def beliefs(self, sequences: Tensor) -> Tensor:
        """The probability of each hidden state once the tokens up to each position are read, by the forward algorithm, float64, (row, position,
        state). `sequences` (row, position) are such as the process can emit."""
        import torch

        matrices, found = self.matrices(), []
        belief = self.start().expand(len(sequences), -1)
        for tokens in sequences.T:
            joint = torch.bmm(belief[:, None], matrices[tokens])[:, 0]
            belief = joint / joint.sum(1, keepdim=True)
            found.append(belief)
        return torch.stack(found, dim=1)

    def laws(self, beliefs: Tensor) -> Tensor:
        """The probability of each next token at beliefs (…, state), float64, (…, token)."""
        return beliefs @ self.matrices().sum(2).T

    def drawn(self, count: int, seed: int) -> Tensor:
        """Sequences of one token more than `length`, drawn from the process, int64, (row, position)."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        # A step goes to one of (token, state after), of which the running sums tell which.
        steps = self.matrices().transpose(0, 1).flatten(1)
        ends = steps.cumsum(1) / steps.sum(1, keepdim=True)
        state = torch.multinomial(self.start(), count, replacement=True, generator=generator)
        found = []
        for _ in range(self.length + 1):
            chance = torch.rand(count, 1, dtype=torch.float64, generator=generator)
            place = torch.searchsorted(ends[state], chance, right=True)[:, 0].clamp(max=ends.shape[1] - 1)
            found.append(place // self.states)
            state = place % self.states
        return torch.stack(found, dim=1)

    def beginnings(self, sequences: Tensor) -> Tensor:
        """Which positions of sequences (row, position) are read for the first time: no sequence before begins in the same way. bool, (row,
        position)."""
        import torch

        first = torch.zeros(sequences.shape, dtype=torch.bool)
        for position in range(sequences.shape[1]):
            own, inverse = torch.unique(self._codes(sequences, position, position + 1), return_inverse=True)
            places = torch.full((len(own),), len(sequences))
            places.scatter_reduce_(0, inverse, torch.arange(len(sequences)), "amin")
            first[places, position] = True
        return first

    def beyond_recent(self, sequences: Tensor, recent: int = 3) -> Tensor:
        """Beliefs less their mean over all beginnings that are as long and end with the same `recent` tokens, each counted once: what those tokens
        leave unexplained. float64, (row, position, state)."""
        import torch

        found = self.beliefs(sequences)
        for position, means in enumerate(_recent_means(self, recent)):
            found[:, position] -= means[self._codes(sequences, position, recent)]
        assert torch.isfinite(found).all(), "sequences that the process can emit"
        return found

    def _codes(self, sequences: Tensor, position: int, recent: int) -> Tensor:
        """A number for the last tokens up to a position, int64, (row,)."""
        import torch

        tokens = sequences[:, max(0, position + 1 - recent) : position + 1]
        return tokens @ self.vocabulary ** torch.arange(tokens.shape[1])


def check(transitions: Matrices) -> None:
    """Raises UsageError where matrices are no process: of different sizes, with numbers that are no probabilities, with a state whose sum is not
    one, or with parts that are never left."""
    states = len(transitions[0]) if transitions else 0
    if len(transitions) < 2 or states < 1:
        raise UsageError("transitions: a process has two tokens and one state at least; give a matrix for each token")
    if len(transitions) > MOST_TOKENS or states > MOST_STATES:
        raise UsageError(
            f"transitions: {len(transitions)} tokens and {states} states; at most {MOST_TOKENS} tokens and {MOST_STATES} states can be followed exactly"
        )
    for token, matrix in enumerate(transitions):
        if len(matrix) != states:
            raise UsageError(
                f"transitions: token {token} has {len(matrix)} rows where token 0 has {states}; give one for each state"
            )
        for state, row in enumerate(matrix):
            if len(row) != states:
                raise UsageError(
                    f"transitions: token {token}, state {state}: {len(row)} numbers for {states} states; give one for each"
                )
            if wrong := [value for value in row if not 0 <= value <= 1]:
                raise UsageError(
                    f"transitions: token {token}, state {state}: {wrong[0]:g} is no probability; give numbers from 0 to 1"
                )
    for state in range(states):
        total = math.fsum(value for matrix in transitions for value in matrix[state])
        if abs(total - 1) > CLOSE:
            raise UsageError(
                f"transitions: state {state}: its rows of all tokens sum to {total:.6g} in place of 1, for one of them must happen; divide them by that"
            )
    if _stationary(transitions).isnan().any():
        raise UsageError(
            "transitions: some states are never left for others, so that no one distribution is stationary; take those out"
        )


@cache
def _stationary(transitions: Matrices) -> Tensor:
    """The distribution that a step leaves as it is, float64, (state,); NaN where there are several."""
    import torch

    step = torch.tensor(transitions, dtype=torch.float64).sum(0)
    states = len(step)
    equations = torch.cat([step.T - torch.eye(states, dtype=torch.float64), torch.ones(1, states, dtype=torch.float64)])
    if int(torch.linalg.matrix_rank(equations, atol=1e-9)) < states:
        return torch.full((states,), math.nan, dtype=torch.float64)
    known = torch.zeros(states + 1, 1, dtype=torch.float64)
    known[-1] = 1
    found = torch.linalg.lstsq(equations, known, driver="gelsd").solution[:, 0].clamp(min=0)
    # Transient states are left for good: what rounding leaves of them would be taken for a possible beginning.
    found[found < 1e-12] = 0
    return found / found.sum()


@cache
def _counted(transitions: Matrices, length: int) -> int:
    """Possible sequences, or a number above `MOST_SEQUENCES` of shorter ones."""
    import torch

    alive = _stationary(transitions)[None] > 0
    ways = (torch.tensor(transitions) > 0).float()
    for _ in range(length):
        alive = (alive.float() @ ways > 0).flatten(0, 1)
        alive = alive[alive.any(1)]
        if len(alive) > MOST_SEQUENCES:
            break
    return len(alive)


@cache
def _possible(transitions: Matrices, length: int) -> Tensor:
    """int64, (row, position), in the order of their tokens."""
    import torch

    ways, tokens = (torch.tensor(transitions) > 0).float(), len(transitions)
    alive = _stationary(transitions)[None] > 0
    found = torch.zeros(1, 0, dtype=torch.int64)
    for _ in range(length):
        # (token, row, state) to (row, token, state)
        alive = (alive.float() @ ways > 0).transpose(0, 1).flatten(0, 1)
        longer = torch.cat(
            [found.repeat_interleave(tokens, 0), torch.arange(tokens).repeat(len(found))[:, None]], dim=1
        )
        kept = alive.any(1)
        found, alive = longer[kept], alive[kept]
    return found


@cache
def _likeliest(transitions: Matrices, length: int) -> Tensor:
    """int64, (row,)."""
    world = HiddenMarkov(transitions=transitions, length=length)
    return world.laws(world.beliefs(_possible(transitions, length))[:, -1]).argmax(1)


@cache
def _recent_means(world: HiddenMarkov, recent: int) -> list[Tensor]:
    """For each position the mean belief by the code of the last tokens, float64, (code, state); NaN for tokens that cannot be last."""
    import torch

    found = []
    for position in range(world.length):
        sequences = _possible(world.transitions, position + 1)
        beliefs = world.beliefs(sequences)[:, -1]
        codes = world._codes(sequences, position, recent)
        sums = torch.zeros(world.vocabulary**recent, world.states, dtype=torch.float64).index_add_(0, codes, beliefs)
        found.append(sums / torch.bincount(codes, minlength=len(sums))[:, None])
    return found
