"""A test bed whose states come from small networks that are trained for it: which, on what, and which of their steps is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from harness.contracts import Bed
from harness.errors import UsageError
from harness.networks.perceptron import Perceptron
from harness.networks.recipe import Recipe
from harness.networks.small_network import SmallNetwork
from harness.networks.training_together import MOST_FLOATS
from harness.networks.transformer import Transformer
from harness.worlds.modular_arithmetic import ModularArithmetic
from harness.worlds.world import World

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from torch import Tensor

Share = Annotated[float, Meta(gt=0, lt=1)]
Rate = Annotated[float, Meta(gt=0, le=1)]
Decay = Annotated[float, Meta(ge=0, le=1000)]
Steps = Annotated[int, Meta(ge=1, le=10_000_000)]

MOST_STORED_GIB = 16


class Further(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What networks that are trained already are trained on, such as fewer questions."""

    fraction: Share
    """Share of the questions. Those of a smaller one are among those of a larger one: below a critical share, what was grokked is lost again.
    Those that only the first training had are among the others from then on, on which a network is tested: what it still remembers of them counts."""
    steps: Steps
    """Steps after those of before. They are counted from 0 again, which is the network as it was."""
    every: Annotated[int, Meta(ge=1)] = 100
    """The networks are stored after so many steps each."""
    learning_rate: Rate | None = None
    """That of before if empty."""
    weight_decay: Decay | None = None
    """That of before if empty."""


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many networks are trained, on which share of all questions, and how: with AdamW on all of them at every step."""

    networks: Annotated[int, Meta(ge=1, le=512)] = 8
    """Networks, trained together. They differ in their seed, which draws what they begin with and the order of questions; intervals of
    measurements are over them, and fewer than six say nothing of others."""
    fraction: Share = 0.4
    """Share of all questions that a network is trained on; the others test it."""
    steps: Steps = 2000
    """Steps of training."""
    every: Annotated[int, Meta(ge=1)] = 100
    """The networks are stored at step 0, after so many steps each, and at the last one: the steps that measurements and `step` can name."""
    learning_rate: Rate = 5e-3
    """Of AdamW."""
    weight_decay: Decay = 1.0
    """Of AdamW. Without any, networks rarely generalise after they have memorised."""
    initial_scale: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    """Factor of all parameters before training. A larger one delays generalising."""
    labels: Literal["true", "shuffled"] = "true"
    """Shuffled answers can only be memorised: a control."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Seed of the first network; the next one has the next."""
    then: Further | None = None
    """A second training of the same networks, from where the first one ends. States and measurements are then those of the second."""


class TrainedBed(Bed, frozen=True, kw_only=True):
    """Small networks that learn a task of which all questions and answers are known; a row is a question."""

    network: Literal["transformer", "perceptron"] = "transformer"
    """`transformer`: one block of attention and rectified units without layer norm; layer 0 is the embedding, layer 1 the stream that answers.
    `perceptron`: one layer of rectified units over one-hot tokens, which is layer 0; it generalises sooner."""
    d_model: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Width of a transformer's residual stream."""
    heads: Annotated[int, Meta(ge=1, le=64)] = 4
    """Attention heads of a transformer, which share the width."""
    d_mlp: Annotated[int, Meta(ge=1, le=16384)] = 256
    """Rectified units."""
    train: Training = Training()
    """How the networks are trained."""
    step: Annotated[int, Meta(ge=0)] | None = None
    """The stored step that probes read; the last one if empty. 0 is the network before training."""
    which: Annotated[int, Meta(ge=0)] = 0
    """The network that probes read, counted from 0. Measurements are of all."""

    views: ClassVar[int] = 1

    def __post_init__(self) -> None:
        try:
            first = self.recipes[0]
        except UsageError as error:
            raise ValueError(str(error)) from error
        train = self.train
        for place, fraction in self.shares.items():
            if not 0 < round(fraction * first.world.rows) < first.world.rows:
                raise ValueError(
                    f"{place}.fraction: {fraction:g} of {first.world.rows} questions leaves none to train on or none to test on; give "
                    "a share further from its ends"
                )
        for place, one in (("train", first), ("train.then", self.last_recipes[0])):
            if (taken := one.learning_rate * one.weight_decay) >= 1:
                raise ValueError(
                    f"{place}.weight_decay: {one.weight_decay:g} times a learning_rate of {one.learning_rate:g} takes {taken:g} of every "
                    "parameter off at each step, and nothing is left to train; give less"
                )
        floats = train.networks * first.network.layout(first.sizes).size
        if floats > MOST_FLOATS or (gib := floats * len(self.steps) * 4 / 2**30) > MOST_STORED_GIB:
            what = (
                "do not fit into one training"
                if floats > MOST_FLOATS
                else f"take {gib:,.0f} GiB at {len(self.steps)} steps"
            )
            raise ValueError(
                f"train.networks: {train.networks} networks of {first.parameters:,} parameters {what}; train fewer, or store fewer steps"
            )
        if self.step is not None and self.step not in self.steps:
            near = sorted(self.steps, key=lambda stored: abs(stored - self.step))[:2]  # type: ignore[operator]
            raise ValueError(
                f"step: {self.step} is not stored; the nearest that are: {' and '.join(map(str, sorted(near)))} (see train.every)"
            )
        if self.which >= train.networks:
            raise ValueError(f"which: there is no network {self.which}; {train.networks} are trained, counted from 0")

    @property
    def shares(self) -> Mapping[str, float]:
        """The shares of all questions that networks are trained on, by their place in the options; none where sequences are drawn."""
        train = self.train
        return {"train": train.fraction} | ({"train.then": train.then.fraction} if train.then else {})

    @property
    def world(self) -> World:
        """The questions and answers. Raises UsageError for options that make none."""
        raise NotImplementedError

    def named(self, question: Sequence[int]) -> str:
        """The name of a question in tables: its tokens without the last one, which asks for the answer."""
        return "-".join(map(str, question[:-1]))

    def known(self, answers: np.ndarray) -> Mapping[str, np.ndarray]:
        """Factors of rows with these answers, (row,), by name."""
        del answers
        return {}

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """Questions in an order drawn from the seed in which each answer stands equally often; a larger count keeps those of a smaller one."""
        import numpy as np
        import polars as pl

        random = np.random.default_rng([0x6B0C, seed])
        questions, answers = (part.numpy() for part in (self.world.questions(), self.world.answers()))
        shuffled = random.permutation(len(answers))
        # The n-th question of each answer, then the next one of each.
        turn = np.empty(len(answers), dtype=np.int64)
        for answer in np.unique(answers):
            turn[shuffled[answers[shuffled] == answer]] = np.arange((answers == answer).sum())
        order = shuffled[np.argsort(turn[shuffled], kind="stable")][:count]
        asked = questions[order].tolist()
        names = list(map(self.named, asked))
        tokens = pl.Series(asked, dtype=pl.List(pl.UInt32))
        own = answers[order]
        return pl.DataFrame({"example": names, "group": names, "label": own, **self.known(own), "tokens_0": tokens})

    @property
    def cyclic(self) -> bool:
        """Whether the world is that of a cyclic group, in which answers have waves."""
        return isinstance(self.world, ModularArithmetic)

    @property
    def drawn(self) -> bool:
        """Whether networks learn from sequences that are drawn, and answer at each position."""
        return self.recipes[0].drawn is not None

    @property
    def made(self) -> SmallNetwork:
        """The kind of network with its sizes. Raises UsageError."""
        if self.network == "perceptron":
            return Perceptron(widths=(self.d_mlp,))
        return Transformer(d_model=self.d_model, heads=self.heads, d_mlp=self.d_mlp)

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The first training of each network."""
        train = self.train
        return tuple(
            Recipe(
                world=self.world,
                network=self.made,
                fraction=train.fraction,
                order=seed,
                labels=train.labels,
                seed=seed,
                initial_scale=train.initial_scale,
                learning_rate=train.learning_rate,
                weight_decay=train.weight_decay,
            )
            for seed in range(train.seed, train.seed + train.networks)
        )

    @property
    def last_recipes(self) -> tuple[Recipe, ...]:
        """The training that states and measurements are of."""
        if (then := self.train.then) is None:
            return self.recipes
        changed = {
            name: value for name in ("learning_rate", "weight_decay") if (value := getattr(then, name)) is not None
        }
        return tuple(msgspec.structs.replace(one, fraction=then.fraction, **changed) for one in self.recipes)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that are stored of it."""
        return stored(self.train if self.train.then is None else self.train.then)

    @property
    def read_step(self) -> int:
        """The step that probes read."""
        return self.steps[-1] if self.step is None else self.step

    @property
    def untrained(self) -> bool:  # type: ignore[override]
        return self.train.then is None and self.read_step == 0

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        return len(self.made.layers()), self.d_mlp if self.network == "perceptron" else self.d_model

    def no_layer(self, layer: int) -> str:
        """Why the networks have no such layer, counted from the last where it is negative; empty if they have."""
        layers = len(self.made.layers())
        if -layers <= layer < layers:
            return ""
        return f"layer: {layer} is none of the {layers} layers of this {self.network}; give {-layers} to {layers - 1}"

    def states(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        raise NotImplementedError("the states of trained networks are given by their subject")


def stored(training: Training | Further) -> tuple[int, ...]:
    """The steps at which networks are stored, in order."""
    return tuple(sorted({*range(0, training.steps, training.every), training.steps}))
