"""Small networks that learn to tell the next token of a process with hidden states, for which they come to hold a belief about the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from harness.contracts import Factor
from harness.errors import UsageError
from harness.networks.drawn_bed import DrawnBed
from harness.networks.trained_bed import Decay, Rate, Steps
from harness.networks.transformer import Transformer
from harness.worlds import hidden_markov

if TYPE_CHECKING:
    import polars as pl

Chance = Annotated[float, Meta(ge=0, le=1)]
STATES = {"mess3": ("A", "B", "C"), "rrxor": ("start", "after_0", "after_1", "ends_0", "ends_1")}
"""Names of hidden states."""


class OnSequences(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many networks are trained, and how: with AdamW, on sequences that are drawn from the process for each step, to tell each next token."""

    networks: Annotated[int, Meta(ge=1, le=512)] = 6
    """Networks, trained together. They differ in their seed, which draws what they begin with and their sequences; intervals of measurements are over
    them, and fewer than six say nothing of others."""
    steps: Steps = 1000
    """Steps of training."""
    every: Annotated[int, Meta(ge=1)] = 100
    """The networks are stored at step 0, after so many steps each, and at the last one: the steps that measurements and `step` can name."""
    batch: Annotated[int, Meta(ge=1, le=65536)] = 128
    """Sequences of a step."""
    learning_rate: Rate = 3e-3
    """Of AdamW. It rises over the first steps, stays up to half of them, and falls to zero at the last one."""
    warm_up: Annotated[int, Meta(ge=0)] = 100
    """Steps over which it rises."""
    weight_decay: Decay = 0.01
    """Of AdamW."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Seed of the first network; the next one has the next."""

    then: ClassVar[None] = None


class HiddenMarkov(DrawnBed, frozen=True, kw_only=True):
    """Small networks that tell the next token of a process with hidden states. What an ideal reader believes about the state after each token is known
    exactly, and is more than the next token tells.

    A row is the beginning of a sequence, each one once, read at its last token; sequences are chosen evenly among all that the process can emit, and
    a row's group is the first that begins in this way. Its truth is the likeliest next token; vectors are `belief`, `next_token` (the probabilities
    of all next tokens) and `beyond_recent`: the belief less its mean over all beginnings of the same length with the same last three tokens.
    """

    process: Literal["mess3", "rrxor", "given"] = "mess3"
    """`mess3`: three states that tell themselves by noisy tokens, whose beliefs are a fractal. `rrxor`: two random bits and their exclusive or, again and
    again, whose beliefs are told apart by later tokens only. `given`: as `transitions` says."""
    transitions: tuple[tuple[tuple[Chance, ...], ...], ...] = ()
    """Of a process that is given: for each token a matrix, row: state before, column: state after, of the probability to emit it on that way. What a
    state has in all matrices sums to one."""
    length: Annotated[int, Meta(ge=1, le=64)] = 10
    """Tokens of a sequence. All sequences are counted, so that three tokens allow 10 and two allow 17."""
    network: Literal["transformer"] = "transformer"
    """Blocks of attention and rectified units with layer norm, which answer at each position; layer 0 is the embedding."""
    blocks: Annotated[int, Meta(ge=1, le=32)] = 2
    """Blocks of the transformer, each of which is a layer."""
    d_model: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Width of the residual stream."""
    heads: Annotated[int, Meta(ge=1, le=64)] = 2
    """Attention heads of a block, which share the width."""
    d_mlp: Annotated[int, Meta(ge=1, le=16384)] = 128
    """Rectified units of a block."""
    train: OnSequences = OnSequences()  # type: ignore[assignment]
    """How the networks are trained."""

    source: ClassVar[str] = "Shai et al. 2024 (arXiv 2405.15943)"

    def __post_init__(self) -> None:
        if bool(self.transitions) != (self.process == "given"):
            raise ValueError(
                "transitions: give them with `process: given`, and leave them out with any other"
                if self.transitions
                else "process: `given` needs `transitions`, a matrix for each token"
            )
        if self.transitions:
            try:
                hidden_markov.check(self.transitions)
            except UsageError as error:
                raise ValueError(str(error)) from error
        DrawnBed.__post_init__(self)

    @property
    def world(self) -> hidden_markov.HiddenMarkov:
        made = {"mess3": hidden_markov.mess3, "rrxor": hidden_markov.rrxor}.get(self.process)
        return hidden_markov.HiddenMarkov(transitions=made() if made else self.transitions, length=self.length)

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
    def answers(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(map(str, range(self.world.vocabulary)))

    @property
    def factors(self) -> tuple[Factor, ...]:  # type: ignore[override]
        """The belief, what it says of the next token, and what of it the last tokens leave unexplained."""
        states = STATES.get(self.process) or tuple(f"state_{state}" for state in range(self.world.states))
        return (
            Factor("belief", states, "vector"),
            Factor("next_token", self.answers, "vector"),
            Factor("beyond_recent", states, "vector"),
        )

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """Beginnings of sequences in an order drawn from the seed; a larger count keeps those of a smaller one."""
        import polars as pl
        import torch

        world = self.world
        shuffled = torch.randperm(world.rows, generator=torch.Generator().manual_seed(seed))
        sequences = world.questions()[shuffled]
        # Each sequence begins in one way at least that none before it does: so many sequences have so many beginnings.
        sequences = sequences[:count]
        rows, positions = (places[:count] for places in world.beginnings(sequences).nonzero(as_tuple=True))
        beliefs, beyond = world.beliefs(sequences), world.beyond_recent(sequences)
        laws = world.laws(beliefs)
        names = ["".join(map(chr, (97 + token for token in one))) for one in sequences.tolist()]
        asked = list(zip(rows.tolist(), positions.tolist(), strict=True))
        vectors = {"belief": beliefs, "next_token": laws, "beyond_recent": beyond}
        return pl.DataFrame(
            {
                "example": [names[row][: position + 1] for row, position in asked],
                "group": [names[row] for row, _ in asked],
                "label": laws[rows, positions].argmax(1).tolist(),
                **{name: of[rows, positions].tolist() for name, of in vectors.items()},
                "tokens_0": pl.Series(
                    [sequences[row, : position + 1].tolist() for row, position in asked], dtype=pl.List(pl.UInt32)
                ),
            }
        )
